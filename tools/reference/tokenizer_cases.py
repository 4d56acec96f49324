"""Texts that a re-implementation of the DeepSeek-V2 tokenizer is likely to get wrong. All of them are our own."""

import random
import re

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"

SENTENCES = [  # one per script or habit of writing
    "The lighthouse keeper's daughter couldn't sleep; it wasn't the wind, she'd have said, but the silence.",
    "WHY ARE WE SHOUTING? iPhone, eBay, McDonald, camelCaseName, SCREAMING_SNAKE_CASE, kebab-case-name",
    "Größe, Straße, Übermäßigkeit und Ähnliches: „Anführungszeichen“ sind unten und oben.",
    "L'été dernier, où étiez-vous ? « Nulle part », répondit-elle, l'œil vif et le cœur léger.",
    "¿Dónde está el ñandú? ¡Aquí está, señor! Pingüinos también.",
    "A ação não é só emoção: pães, mãos, avó e avô.",
    "Zażółć gęślą jaźń, pchnąć w tę łódź jeża.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy; řeřicha a šťáva.",
    "İstanbul'da ılık bir gün: ışık, şeker, çiğ, öğüt ve IĞDIR.",
    "Tiếng Việt có dấu: nghiêng, phường, ngoằn ngoèo, đặc biệt, ữ ợ ẫ.",
    "Árvíztűrő tükörfúrógép, meg őrült író.",
    "Þetta er íslenska: ævintýri, það, ðað, Öræfajökull.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. ОБЪЯВЛЕНИЕ №7",
    "Ґанок, їжак, єнот і паляниця — це українською.",
    "Ѣ ѳ ѵ і: старая орфографія; ҂ѧѩ",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία· ΆΈΉΊΌΎΏ ΐ ΰ ς σ ᾳ ῷ",
    "Լսիր, բարև ձեզ։ Ինչպե՞ս եք։ ԵՒ և",
    "გამარჯობა, როგორ ხართ? ႠႡႢ ᲐᲑᲒ",
    "שלום עולם, מה שלומך היום? בְּרֵאשִׁית",
    "مرحبا بالعالم، كيف حالك؟ السَّلامُ عليكم ١٢٣",
    "سلام دنیا، می‌خواهم کتاب‌ها را بخوانم ۴۵۶",
    "नमस्ते दुनिया, आप कैसे हैं? क्षत्रिय ज्ञान १२३",
    "আমি বাংলায় গান গাই। ৪৫৬",
    "வணக்கம் உலகம், எப்படி இருக்கிறீர்கள்?",
    "నమస్కారం ప్రపంచం ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ ଓଡ଼ିଆ සිංහල",
    "สวัสดีชาวโลก วันนี้อากาศดีมาก ๑๒๓ ฿",
    "ສະບາຍດີ ຂ້ອຍສະບາຍດີ ໑໒",
    "សួស្តី​ពិភពលោក ១២៣",
    "မင်္ဂလာပါ ကမ္ဘာလောက ၁၂၃",
    "བཀྲ་ཤིས་བདེ་ལེགས། ༡༢༣ ༳",
    "ሰላም ዓለም፣ እንዴት ነህ? ፩፪፫",
    "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ꭰꭱꭲ ᏸᏹ",
    "ᐃᓄᒃᑎᑐᑦ ᚠᚢᚦᚨᚱᚲ ᛫ ᚐᚁᚂ",
    "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ᠌ ᠎ᠠ",
    "𐐔𐐯𐑅𐐨𐑉𐐯𐐻 𐒰𐓘 𞤀𞤣𞤤𞤢𞤥 𐲀𐳀 𑢠𑣀",
    "吾輩は猫である。名前はまだ無い。カタカナ、ひらがな、漢字、ﾊﾝｶｸ、ー、々〆ヶ",
    "안녕하세요, 세계! 가각힣 ㄱㄴㄷ ㅏㅑ ᄀ",
    "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。“你好”，他说：‘再见’……——《书名》（括号）【方】",
    "繁體中文：臺灣、憂鬱的烏龜、龍飛鳳舞、麤",
    "中英mixed文本with English单词and数字123在一起,标点，混用.",
    "第1章 第２节 ３.14 公里/小时 50% 五十％ ￥100 $99.95 ①②③ 一二三〇",
    "ꀀꀁꀂ ꓐꓑ 𠀀𠮷𪚥 㐀㐁 龦龧鿿 豈更",
    "𝐇𝐞𝐥𝐥𝐨 𝒲ℴ𝓇𝓁𝒹 𝟘𝟙𝟚 ℵ₀ ∀x∈ℝ: ∃y ≥ x² ⇒ ∑ᵢ₌₁ⁿ √2 ≈ 1.41421",
    "Ⓗⓔⓛⓛⓞ ⅰⅱⅲ Ⅳ ½ ⅓ ¾ ⁰¹²³ ₄₅₆ ㊀ ㋿ ㍿",
    "ﬁnal ﬂow ﬃ oﬀ ﬅ ﬓ ﬔ ＡＢＣ ａｂｃ １２３ ！＂＃ ～｟｠",
]

CODE = [
    'def f(x: int) -> str:\n    return f"{x!r:>10}"  # comment\n\n\nclass A(B):\n\tpass\n',
    "for (int i = 0; i < n; ++i) { a[i] += b[i] * 3.0e-7f; }  // loop\r\n",
    "#include <vector>\ntemplate <typename T, std::size_t N>\nauto g(T (&&x)[N]) noexcept -> decltype(auto);\n",
    "SELECT a.*, COUNT(*) FROM \"t\" AS a WHERE x <> 'it''s' GROUP BY 1 HAVING COUNT(*) >= 2;",
    '{"key": [1, -2.5e+10, true, null, "\\u00e9\\n"], "empty": {}}',
    "<div class=\"a b\" id='c'>&nbsp;&lt;p&gt; text</div><!-- no -->",
    "\\begin{align*} e^{i\\pi} + 1 &= 0 \\\\ \\frac{\\partial f}{\\partial x} \\end{align*}",
    "https://example.org/path/to/page.html?query=a%20b&x=1#frag me@example.org 192.168.0.1:8080 ::1",
    "$ grep -rn --include='*.cc' \"foo\\|bar\" . | sort -u > out.txt 2>&1 && echo ok || exit 1",
    "| a | b |\n|---|:-:|\n| 1 | **2** |\n\n- [ ] todo\n- [x] done\n\n> quote\n\n```sh\nls\n```\n",
    "0xDEADBEEF 0b1010 0o777 1_000_000 1e-9 .5 5. 1.2.3 v2.0.1-rc1+build.5 3:45pm 2024-02-29T23:59:60Z",
    "U29tZSBiYXNlNjQgdGV4dCB3aXRoIHBhZGRpbmc9PQ== d41d8cd98f00b204e9800998ecf8427e",
    "^(?:[a-z0-9!#$%&'*+/=?^_`{|}~-]+)@(?:\\d{1,3}\\.){3}\\d{1,3}$",
    "if\t(x)\n\t\ty =\tz;\n    \t mixed \t indentation\n",
    "a==b!=c<=d>=e&&f||g<<h>>i->j::k=>l...m?.n??o**p//q:=r",
]

EMOJI = [
    "😀",
    "😀😃😄",
    "hi 😀!",
    "👍🏽",
    "👩‍👩‍👧‍👦",
    "👩🏾‍🚀 and 🧑‍🤝‍🧑",
    "🇩🇪🇨🇳🇺🇸",
    "1️⃣2️⃣#️⃣*️⃣",
    "❤️ ❤ ♥️",
    "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "☃️☂☀️⛄",
    "→←↑↓⇒⟶",
    "✓✔✗✘",
    "■□▢▣▤",
    "♠♣♥♦♩♪♫",
    "🀄🃏🎴",
    "🫠🫡🪿🫨",
    "¯\\_(ツ)_/¯",
    "(╯°□°)╯︵ ┻━┻",
    "😀\n😀\r\n😀 \n",
    " 😀",
    "  😀",
    "😀 a",
    "a😀b",
    "中😀文",
]

SPACES = [
    "\t",
    "\n",
    "\r",
    "\v",
    "\f",
    "\x1c",
    "\x1f",
    "\x85",
    "\xa0",
    "\u1680",
    "\u180e",
    "\u2000",
    "\u2003",
    "\u2009",
    "\u200a",
    "\u200b",
    "\u2028",
    "\u2029",
    "\u202f",
    "\u205f",
    "\u2060",
    "\u3000",
    "\ufeff",
]

NUMERIC = "0９٣۵७৭௧௰๓༣༪၃ᛮ፩፲²³¹¼½¾⁵₅⅐Ⅷⅸↈ①⑳⓪❶⒈〇〡〨㆒㈠㉑㊀㋀㍘一五꘠ꛦ꠰𐄇𐅀𐅵𐡘𐴰𐵀𑁒𑁦𑜺𒐀𝟎𝟿𞅀𞗱🄀🄌🯰🯹"

MARKS = [
    "e\u0301 a\u0308\u0304 n\u0303",
    "Z\u0336a\u0337l\u0338g\u0335o\u0334\u0353\u032c\u0312",
    "\u0301",
    " \u0301",
    "a \u0301b",
    "1\u0301",
    "!\u0301",
    "中\u0301文",
    "ใ\u0e49\u0e33",
    "क\u094dष",
    "\u200dक\u200d",
    "ᄒ\u1161\u11ab글",
    "a\u20dd\u20e3",
    "\ufe0f\ufe0e",
    "\u0345\u0370",
    "i\u0307 I\u0307 ı",
    "\u0483Ѐ\u0488",
    "ó vs o\u0301",
    "が vs か\u3099",
    "각 vs ᄀ\u1161\u11a8",
    "Å Å A\u030a",
    "ﷺ ﷽",
]

CONTROLS = [
    "\x00",
    "a\x00b",
    "\x00\x00\x00",
    " \x00",
    "\x01\x02\x03",
    "\x07\x08\x0b\x0c\x0e",
    "\x1b[31mred\x1b[0m",
    "\x7f",
    "a\x7f b",
    "\x80\x81\x9f",
    "\xad",
    "soft\xadhyphen",
    "\u200b\u200c\u200d",
    "\u202aabc\u202c \u2066x\u2069",
    "\ufeffBOM first",
    "in \ufeff the middle",
    "\ufffd",
    "a\ufffd\ufffdb",
    "\ufffe\uffff",
    "\ufdd0",
    "\ue000\uf8ff",
    "\U000f0000\U0010fffd",
    "\U0010ffff",
    "\u061c\u200e\u200f",
    "\x00\n\x00 \x00",
]


# Found by searching the vocabulary for entries that straddle a cut: here a wrong pre-tokenizer changes the ids.
STRADDLING = [
    "§ ",
    "© ",
    "\xad ",
    "® ",
    "x§ © \n",
    "\xa0aC",
    "\xa0Ia",
    "a\xa0aCa",
    "áč",
    "ář",
    "áš",
    "áž",
    "Xářek",
    " áčko",
]


def special_token_cases() -> list[str]:
    parts = [
        BOS,
        EOS,
        BOS + EOS,
        BOS + BOS,
        EOS * 3,
        f"a{BOS}b",
        f" {BOS} ",
        f"\n{EOS}\n",
        f"{BOS}Hello{EOS}",
        f"Hello {EOS} world",
        f"{EOS}！",
        f"中{BOS}文",
        f"1{EOS}2",
        f"User: hi\n\nAssistant: hello{EOS}User: bye\n\nAssistant:",
        f"  {EOS}  ",
        f"{BOS}\r\n",
        BOS[:-1],
        BOS[1:],
        f"<{BOS}>",
        f"{BOS[:5]}{BOS}",
        BOS.upper(),
        BOS.replace("▁", "_"),
        BOS.replace("▁", " "),
        BOS.replace("｜", "|"),
        "<|begin_of_sentence|>",
        "<｜begin▁of▁sentence|>",
        "<｜end▁of▁sentence｜",
        "<｜User｜>",
        "<｜Assistant｜>",
        "<think>\n</think>",
        "<|endoftext|>",
        "<s></s>",
        "[INST]",
        "▁",
        "▁▁of▁",
        "｜",
        "<｜",
        "｜>",
        f"{BOS}{BOS[:-1]}{EOS}",
        f"e\u0301{EOS}\u0301",
        f"{EOS}\x00{BOS}",
    ]
    return parts


def whitespace_cases() -> list[str]:
    cases = [" " * n for n in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200)]
    cases += (
        ["\n" * n for n in (1, 2, 3, 4, 8, 9)] + ["\r\n" * n for n in (1, 2, 3)] + ["\t" * n for n in (1, 2, 3, 4, 8)]
    )
    cases += (
        [f"a{' ' * n}b" for n in (1, 2, 3, 4, 8)]
        + [f"a{' ' * n}" for n in (1, 2, 3)]
        + [f"{' ' * n}a" for n in (1, 2, 3)]
    )
    cases += (
        [f"a{' ' * n}\n{' ' * n}b" for n in (1, 2, 3, 4)]
        + [f"a{' ' * n}1" for n in (1, 2, 3)]
        + [f"a{' ' * n}中" for n in (1, 2, 3)]
    )
    cases += [f"a{' ' * n}!" for n in (1, 2, 3)] + [
        "\n\r",
        "\r\r\n",
        "a\r\nb\nc\rd",
        " \n \n ",
        "\t \t ",
        "a\n\nb\n\n\nc",
        "\n a",
        "a \n",
        "line one  \nline two",
    ]
    for space in SPACES:
        cases.append(f"{space}{space}a{space}b {space} 1{space}中{space}!{space}\n{space}")
    return cases


def punctuation_cases() -> list[str]:
    cases = [f"{c} {c}{c} a{c}b 1{c}2 {c}x x{c} 中{c}文 {c}\n" for c in map(chr, range(0x21, 0x7F)) if not c.isalnum()]
    cases += [
        "".join(map(chr, range(a, b)))
        for a, b in (
            (0x21, 0x30),
            (0x3A, 0x7F),
            (0xA1, 0xC0),
            (0x2010, 0x2028),
            (0x2030, 0x205F),
            (0x20A0, 0x20C1),
            (0x3000, 0x3020),
            (0xFE30, 0xFE50),
            (0xFF01, 0xFF21),
            (0xFF3B, 0xFF41),
            (0xFF5B, 0xFF66),
        )
    ]
    cases += [
        "Hello, world!",
        "hello!!!world",
        "A:b;c",
        "...and then",
        "“quoted” ‘single’ ‛‟",
        "—dash—and–en-",
        " …  …",
        "x　。y",
        "　、。〃〈〉",
        "？！",
        "a！ b",
        "don't DON'T we'll I'M they've o'clock",
        'end.\n\n"Start',
        "(a)(b)[c]{d}",
        "~!@#$%^&*()_+",
        "foo_bar__baz",
        "Z[a]",
        "{z|y}",
        "` ´ ¨ ^",
    ]
    return cases


def digit_cases() -> list[str]:
    cases = ["1234567890"[:n] for n in range(1, 11)] + [
        "12345678901234567890" * 3,
        "3.14159",
        "1,234,567",
        " 42",
        "  42",
        "a1b2",
        "1a",
        "1 2  3",
        "１２３ 12",
        "٣٤٥",
        "１2三",
    ]
    return cases + [f"a{c}b {c} {c}{c} 中{c}" for c in NUMERIC]


def letter_range_cases(pattern: str) -> list[str]:
    """For each range of the tokenizer's letter class: its ends and the neighbours just outside, in places where it shows
    whether a space or a letter belongs to the same piece."""
    inside = pattern[pattern.index("[") + 1 : pattern.rindex("]")]
    cases = []
    for first, last in re.findall(r"(.)(?:-(.))?", inside):
        edges = [chr(ord(first) - 1), first, last or first, chr(ord(last or first) + 1)]
        cases.append("".join(f" {c}a{c} {c}{c}" for c in dict.fromkeys(edges)))
    return cases


def block_edge_cases() -> list[str]:
    edges = [
        0x7FF,
        0x800,
        0xE01,
        0x10FF,
        0x1100,
        0x2E7F,
        0x3041,
        0x30FF,
        0x33FF,
        0x3400,
        0x4DFF,
        0x4E00,
        0x4E01,
        0x9FA5,
        0x9FA6,
        0x9FFF,
        0xA000,
        0xA4CF,
        0xABFF,
        0xAC00,
        0xD7A3,
        0xD7A4,
        0xD7FF,
        0xE000,
        0xF900,
        0xFAFF,
        0x20000,
        0x2A6DF,
        0x30000,
    ]
    return [f"{chr(c)} {chr(c)}a{chr(c)}中{chr(c)}{chr(c)}1{chr(c)}!" for c in edges]


def long_cases() -> list[str]:
    return [
        "a" * 1000,
        "A" * 1000,
        "z" * 333,
        "中" * 1000,
        "1" * 300,
        "!" * 1000,
        "=" * 777,
        "-" * 100,
        "_" * 65,
        "é" * 500,
        "я" * 500,
        "한" * 300,
        "ん" * 300,
        "👍" * 200,
        "\n" * 300,
        "\t" * 100,
        " " * 1000,
        "\r\n" * 100,
        "ab" * 500,
        "aA" * 200,
        "hello" * 100,
        " hello" * 100,
        "的是" * 200,
        "\x00" * 50,
        "\u0301" * 100,
        "a\u0301" * 100,
        "xyzzy " * 100,
        "0a" * 100,
        "Donaudampfschifffahrtsgesellschaftskapitän" * 5,
    ]


def random_cases(count: int) -> list[str]:
    """Mixtures that no one would think of writing down."""
    rng = random.Random(20240507)
    pools = [
        "abcdefghijklmnopqrstuvwxyz",
        "ABCDEFGHIJ",
        "0123456789",
        " ",
        "  \t",
        "\n\r",
        "!?.,;:'\"()[]{}<>",
        "中文的是不了人我在有",
        "éüßñçøåÆ",
        "абвгдежз",
        "αβγδεζ",
        "あいうアイウ",
        "가나다",
        "ابتث",
        "กขค",
        "😀👍🏽❤️",
        "\u0301\u0308\u200d",
        "，。！？、：；“”",
        "½²Ⅳ①٣",
        "ａＢ１！",
        "\x00\x7f\x85\xa0\u3000",
        "\U00010400\U0001d400\U00020000",
    ]
    cases = []
    for _ in range(count):
        chosen = rng.sample(pools, rng.randint(2, 6))
        cases.append(
            "".join(rng.choice(rng.choice(chosen)) * rng.choice((1, 1, 1, 2, 3)) for _ in range(rng.randint(10, 40)))
        )
    return cases


def all_cases(letter_pattern: str) -> list[str]:
    cases = ["", "a", "I", "the", " the", "The", " The", "Hello world", "hello  world", "你好", " 你好", "你好 世界"]
    cases += (
        STRADDLING
        + SENTENCES
        + CODE
        + EMOJI
        + MARKS
        + CONTROLS
        + special_token_cases()
        + whitespace_cases()
        + punctuation_cases()
        + digit_cases()
    )
    cases += letter_range_cases(letter_pattern) + block_edge_cases() + long_cases() + random_cases(100)
    return list(dict.fromkeys(cases))
