#!/usr/bin/env python3
"""The chat page as a user meets it: a real Chromium against a server with scripted answers (mock_server.py).

Leaves with 77 (skipped) where no Chromium is installed. Every test also fails on anything the browser's console complains of,
refusals of the content policy included, other than what it names as expected."""
import sys
import unittest

from browser import find_chromium
import page_chat_test
import page_look_test

SKIPPED = 77

if __name__ == "__main__":
    if find_chromium() is None:
        print("page_test: skipped, no Chromium is installed (Debian: apt-get install chromium)")
        sys.exit(SKIPPED)
    loader = unittest.defaultTestLoader
    tests = unittest.TestSuite(map(loader.loadTestsFromModule, (page_chat_test, page_look_test)))
    sys.exit(not unittest.TextTestRunner(verbosity=2).run(tests).wasSuccessful())
