"""Result files: csv, the seed's fixed-width form of it, and Markdown for the terminal."""
import csv
import pathlib


def write_csv(path, columns, rows):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def append_csv(path, columns, row):
    """Starts the file where it is missing."""
    path = pathlib.Path(path)
    is_new = not path.exists() or path.stat().st_size == 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(columns)
        writer.writerow(row)


def fixed_width(columns, rows):
    """Cells in columns of one width, a bar between them."""
    lines = [[str(cell) for cell in line] for line in (columns, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "".join("|".join(cell.ljust(width) for cell, width in zip(line, widths)) + "\n" for line in lines)


def markdown(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)
