"""Profiles a table and draws what it finds.

profile(path) reads a file of rows and columns once, from its beginning, in
bounded memory, and returns a Report: markdown() says it in words, write(path)
makes a page of it. What a file holds is never run and never trusted: it is text
to count, and it is escaped wherever it is shown. The standard library is enough.
"""
import builtins
import codecs
import csv
import hashlib
import heapq
import html
import itertools
import json
import math
import os
import posixpath
import re
import stat
import unicodedata
import zipfile
import zlib
from array import array
from collections import Counter
from datetime import datetime, timedelta
from xml.parsers import expat

ROWS_MAX = 3_000_000
CELLS_MAX = 15_000_000  # also bounds the numbers that are kept for the median
COLUMNS_MAX = 200
DISTINCT_MAX = 10_000  # different values that a column remembers
DISTINCT_ALL = 200_000  # and all columns together
DUPLICATES_MAX = 500_000  # rows that are remembered to find the same again
LINE_MAX = 16 << 20  # characters
CELL_MAX = 16 << 20
JSON_MAX = 32 << 20  # bytes of a document that has to be read whole
UNPACKED_MAX = 512 << 20  # bytes of a sheet
STRINGS_MAX = 64 << 20  # characters of the texts that a workbook shares
KEY_MAX = 100  # characters of a value that are remembered as they are
TEXT_MAX = 9000  # characters of markdown()
CHARTS_MAX = 60
SHOWN_ROWS = 10

MISSING = {"na", "n/a", "nan", "null", "none", "#n/a"}
INFINITE = {"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}

# A code such as 007 is no number: its zeros matter.
PLAIN = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
DOT_GROUP = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")  # 1.234: decimal point, or thousands
COMMAS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?")  # 1,234.5
DOTS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+(?:,[0-9]+)?")  # 1.234,5
DECIMAL_COMMA = re.compile(r"[+-]?(?:0|[1-9][0-9]*),[0-9]+")  # 1,5

CLOCK = r"(?:[T ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]{1,9})?)?\s?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
YEAR_FIRST = re.compile(r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})" + CLOCK)
DAY_FIRST = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})" + CLOCK)
SLASHED = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})" + CLOCK)


class Unreadable(Exception):
    """Why a file has no profile, in words for people."""


def clean(text):
    """The text without what acts on a terminal or a page, on one line."""
    text = " ".join(str(text).split())
    if text.isascii() and text.isprintable():
        return text
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text if unicodedata.category(c) not in ("Cc", "Cf"))


def clip(text, most):
    text = clean(text)
    return text if len(text) <= most else text[: most - 1].rstrip() + "\u2026"


def number(value):
    """A number for people: whole ones in full, others to six digits or two places."""
    if value is None:
        return ""
    if value == int(value) and abs(value) < 1e15:
        return "%d" % value
    if not 1e-4 <= abs(value) < 1e15:
        return "%.6g" % value
    places = max(2, 5 - math.floor(math.log10(abs(value))))
    return ("%.*f" % (places, value)).rstrip("0").rstrip(".")


def count(n, thing):
    return "%s %s%s" % (grouped(n), thing, "" if n == 1 else "s")


def grouped(n):
    return format(n, ",")


def size(n):
    for unit in ("bytes", "KB", "MB"):
        if n < 1024 or unit == "MB":
            return "%d %s" % (n, unit) if unit == "bytes" else "%.1f %s" % (n, unit)
        n /= 1024


# --- reading -----------------------------------------------------------------


class Table:
    """Rows on their way: names grows while rows is read, if the file is like that."""

    def __init__(self, form, names, rows, notes=()):
        self.form, self.names, self.rows, self.notes = form, names, rows, list(notes)


def encoding(path):
    """How the text of a file is written, and that in words."""
    with open(path, "rb") as file:
        head = file.read(4096)
        if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            return "utf-32", "UTF-32"
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16", "UTF-16"
        zeros = [head[i::2].count(0) for i in (0, 1)]
        if sum(zeros):
            half = len(head) // 2 or 1
            for i, name in ((1, "utf-16-le"), (0, "utf-16-be")):
                if zeros[i] > 0.6 * half and zeros[1 - i] < 0.05 * half:
                    return name, "UTF-16"
            if max(zeros) > 0.01 * len(head):
                raise Unreadable("It is not a text file.")
        decoder = codecs.getincrementaldecoder("utf-8")()
        file.seek(0)
        try:
            for block in iter(lambda: file.read(1 << 20), b""):
                decoder.decode(block)
            decoder.decode(b"", True)
            return "utf-8-sig", "UTF-8"
        except UnicodeDecodeError:
            return "cp1252", "Windows-1252, as it is not UTF-8"


def lines(file):
    """The lines of a text file, never one that does not fit into memory."""
    while True:
        line = file.readline(LINE_MAX)
        if not line:
            return
        if len(line) == LINE_MAX:
            raise Unreadable("A line has more than %d million characters." % (LINE_MAX >> 20))
        yield line.replace("\0", "\ufffd") if "\0" in line else line


def separator(path, charset):
    """The mark between columns by which the first lines are most alike."""
    with open(path, encoding=charset, errors="replace", newline="") as file:
        sample = file.read(1 << 16)
    part = sample.splitlines(keepends=True)
    if len(part) > 1 and len(sample) == 1 << 16:
        part = part[:-1]
    best, chosen = (False, 0, 0), "\t" if path.lower().endswith((".tsv", ".tab")) else ","
    for mark in ("\t", ",", ";", "|") if chosen == "\t" else (",", ";", "\t", "|"):
        try:
            read = csv.reader((line.replace("\0", "") for line in part), delimiter=mark)
            widths = [len(row) for row in itertools.islice(read, 200) if row]
        except csv.Error:
            continue
        if not widths or max(widths) < 2:
            continue
        width, often = Counter(widths).most_common(1)[0]
        score = (widths[0] > 1, round(often / len(widths), 2) if width > 1 else 0, width)
        if score > best:
            best, chosen = score, mark
    return chosen


MARKS = {",": "comma-separated", ";": "semicolon-separated", "\t": "tab-separated", "|": "separated by |"}
MODES = {  # of the reader, from the strictest on; the next one is tried when it fails
    "strict": ({"strict": True}, None),
    "lenient": ({}, "Some quotation marks stand in the middle of a cell; they were taken as they are."),
    "plain": ({"quoting": csv.QUOTE_NONE}, "A quotation mark is never closed, so all of them were taken for plain characters: "
              "cells that hold separators or line breaks are cut there."),
}


def delimited(path, mode):
    charset, words = encoding(path)
    mark = separator(path, charset)
    options, note = MODES[mode]

    def rows():
        with open(path, encoding=charset, errors="replace", newline="") as file:
            for row in csv.reader(lines(file), delimiter=mark, **options):
                if any(row):
                    if mode == "lenient" and any(len(v) > 2000 and v.count("\n") > 200 for v in row):
                        raise csv.Error("unexpected end of data")
                    yield row

    return headed("%s, %s" % (MARKS[mark], words), rows(), [note] if note else [])


def is_value(text):
    """Whether a text is a number or a date, as names of columns seldom are."""
    text = text.strip()
    return bool(PLAIN.fullmatch(text) or COMMAS.fullmatch(text) or DECIMAL_COMMA.fullmatch(text)
                or YEAR_FIRST.fullmatch(text) or DAY_FIRST.fullmatch(text) or SLASHED.fullmatch(text))


def headed(form, rows, notes):
    """Takes the first row for names, unless it looks like all others."""
    head = list(itertools.islice(rows, 50))
    if not head:
        raise Unreadable("The file is empty.")
    first, rest = head[0], head[1:]
    in_first = [is_value(v) for v in first]
    below = [any(is_value(row[i]) for row in rest if i < len(row)) for i in range(len(first))]
    years = [v for v, value in zip(first, in_first) if value]
    named = not any(in_first) or any(b and not f and first[i].strip() for i, (f, b) in enumerate(zip(in_first, below))) \
        or len(years) > 1 and all(re.fullmatch("(?:19|20)[0-9]{2}", y.strip()) for y in years) and len(set(years)) == len(years) \
        and any(first[i].strip() and not f for i, f in enumerate(in_first))
    if named:
        names = titles(first, notes)
        head = rest
        form += ", names in the first line"
    else:
        names = ["column %d" % (i + 1) for i in range(min(len(first), COLUMNS_MAX))] + [""] * (len(first) - COLUMNS_MAX)
        notes.append("The first line looks like data, not like names: the columns are numbered.")
    return Table(form, names, itertools.chain(head, rows), notes)


def titles(first, notes):
    """Names that differ, none of them empty; those that are not looked at are."""
    names, used, doubled, nameless = [], set(), 0, 0
    for i, name in enumerate(first[:COLUMNS_MAX]):
        name = clip(name, KEY_MAX)
        if not name:
            nameless += 1
            name = "column %d" % (i + 1)
        title, n = name, 1
        while title in used:
            n += 1
            title = "%s (%d)" % (name, n)
        doubled += n > 1
        used.add(title)
        names.append(title)
    if nameless:
        notes.append("%s no name and is called by its place." % (count(nameless, "column") + " has") if nameless == 1
                     else "%s have no name and are called by their places." % count(nameless, "column"))
    if doubled:
        notes.append("%s the name of another one and got a number behind it." % (count(doubled, "column") + (" has" if doubled == 1 else " have")))
    return names + [""] * (len(first) - len(names))


def as_text(value):
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return json.dumps(value)


class Records:
    """Lays objects out in columns, which it finds on the way."""

    def __init__(self):
        self.names, self.at, self.left_out, self.nested = [], {}, False, False

    def row(self, record):
        if not isinstance(record, dict):
            record = {"value": record}
        for key in record:
            if key not in self.at:
                if len(self.names) == COLUMNS_MAX:
                    self.left_out = True
                    continue
                self.at[key] = len(self.names)
                self.names.append(clip(key, KEY_MAX) or "(no name)")
        row = [""] * len(self.names)
        for key, value in record.items():
            if key in self.at:
                self.nested = self.nested or isinstance(value, (dict, list))
                row[self.at[key]] = as_text(value)
        return row

    def notes(self):
        if self.nested:
            yield "Lists and objects inside of records are taken as texts in JSON."
        if self.left_out:
            yield "Only the first %d fields of the records are looked at." % COLUMNS_MAX


def json_document(path):
    charset, words = encoding(path)
    if os.path.getsize(path) > JSON_MAX:
        raise Unreadable("A JSON document of more than %d MB is not read: one record on a line (.jsonl) can be of any length." % (JSON_MAX >> 20))
    with open(path, encoding=charset, errors="replace") as file:
        text = file.read()
    if not text.strip():
        raise Unreadable("The file is empty.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("It is not valid JSON: %s." % clip(error, 200)) from None
    form = "JSON records, " + words
    if isinstance(value, dict):
        lists = [key for key, v in value.items() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)]
        if len(lists) != 1:
            raise Unreadable("It holds no list of records.")
        form = "JSON records of \u201c%s\u201d, %s" % (clip(lists[0], 40), words)
        value = value[lists[0]]
    if not isinstance(value, list) or not value:
        raise Unreadable("It holds no list of records.")
    records = Records()
    rows = [records.row(r) for r in value]
    return Table(form, records.names, iter(rows), records.notes())


def json_lines(path):
    charset, words = encoding(path)
    records = Records()
    table = Table("one JSON value on a line, " + words, records.names, None)

    def rows():
        good = bad = 0
        with open(path, encoding=charset, errors="replace") as file:
            for line in lines(file):
                if not line.strip():
                    continue
                try:
                    row = records.row(json.loads(line))
                except (ValueError, RecursionError):
                    bad += 1
                    if bad > 100 and bad > good:
                        raise Unreadable("Most of its lines are not valid JSON.") from None
                    continue
                good += 1
                yield row
        if not good:
            raise Unreadable("None of its lines is valid JSON." if bad else "The file is empty.")
        if bad:
            table.notes.append("%s not valid JSON and left out." % (count(bad, "line") + (" is" if bad == 1 else " are")))
        table.notes.extend(records.notes())

    table.rows = rows()
    return table


class Workbook:
    """Reads the cells of an Excel file, part by part, as a stream."""

    def __init__(self, path):
        try:
            self.zip = zipfile.ZipFile(path)
            self.members = set(self.zip.namelist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            raise Unreadable("It is not an Excel file of the present format (.xlsx), or it is protected by a password.") from None
        self.epoch, self.shared, self.dates = datetime(1899, 12, 30), [], {}
        self.cut = False

    def parse(self, member, parser, whole):
        """Feeds a part to a parser, piece by piece, and yields after each. Of one
        that need not be whole, what is too much is left out."""
        if member not in self.members:
            return
        left = UNPACKED_MAX

        def refuse(*_):
            raise Unreadable("It has a document type of its own, which Excel files do not have.")

        parser.StartDoctypeDeclHandler = refuse
        try:
            with self.zip.open(member) as file:
                for block in iter(lambda: file.read(1 << 16), b""):
                    left -= len(block)
                    if left < 0 and whole:
                        raise Unreadable("The Excel file is too large to be read here.")
                    if left < 0:
                        self.cut = True
                        return
                    parser.Parse(block, False)
                    yield
                parser.Parse(b"", True)
                yield
        except (expat.ExpatError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise Unreadable("The Excel file is damaged, or protected by a password: %s." % clip(error, 200)) from None

    def elements(self, member, start, end=None, chars=None, whole=True):
        """Tells what elements begin and end, by their names without prefix."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = lambda name, a: start(name.rpartition(":")[2], {k.rpartition(":")[2]: v for k, v in a.items()})
        if end:
            parser.EndElementHandler = lambda name: end(name.rpartition(":")[2])
        if chars:
            parser.CharacterDataHandler = chars
        return self.parse(member, parser, whole)

    def sheets(self):
        """Names of the sheets and the parts that hold them."""
        parts, found = {}, []

        def relation(name, a):
            if name == "Relationship":
                target = a.get("Target", "")
                parts[a.get("Id")] = target.lstrip("/") if target.startswith("/") else posixpath.normpath("xl/" + target)

        def entry(name, a):
            if name == "sheet":
                found.append((a.get("name", ""), a.get("id")))
            elif name == "workbookPr" and a.get("date1904") in ("1", "true"):
                self.epoch = datetime(1904, 1, 1)

        for _ in self.elements("xl/_rels/workbook.xml.rels", relation):
            pass
        for _ in self.elements("xl/workbook.xml", entry):
            pass
        return [(name, parts[part]) for name, part in found if part in parts]

    def load(self):
        """Reads the texts that cells share, and which styles are dates."""
        text, state, total = [], {"in": False, "phonetic": False}, 0

        def start(name, _):
            if name == "si":
                text.clear()
            elif name == "rPh":
                state["phonetic"] = True
            elif name == "t":
                state["in"] = not state["phonetic"]

        def grow(by):
            nonlocal total
            total += by
            if total > STRINGS_MAX:
                raise Unreadable("The texts of the Excel file are too large to be read here.")

        def add(part):
            if state["in"]:
                grow(len(part))
                text.append(part)

        def end(name):
            if name == "si":
                grow(50)  # what a text takes beside its characters
                self.shared.append("".join(text))
            elif name == "rPh":
                state["phonetic"] = False
            elif name == "t":
                state["in"] = False

        for _ in self.elements("xl/sharedStrings.xml", start, end, add):
            pass
        formats, styles, inside = {}, [], [False]

        def style(name, a):
            if name == "numFmt":
                formats[a.get("numFmtId")] = a.get("formatCode", "")
            elif name == "cellXfs":
                inside[0] = True
            elif name == "xf" and inside[0]:
                styles.append(a.get("numFmtId", "0"))

        def done(name):
            if name == "cellXfs":
                inside[0] = False

        for _ in self.elements("xl/styles.xml", style, done):
            pass
        for i, code in enumerate(styles):
            if code.isdigit() and (14 <= int(code) <= 22 or 45 <= int(code) <= 47):
                self.dates[str(i)] = True
            elif code in formats:
                bare = re.sub(r'"[^"]*"|\\.|\[[^\]]*\]', "", formats[code])
                self.dates[str(i)] = bool(re.search("[ymdhs]", bare, re.I)) and "General" not in bare

    def value(self, kind, style, text):
        """What a cell says, as text."""
        if kind == "s":
            at = int(text) if text.isdigit() else -1
            return self.shared[at] if 0 <= at < len(self.shared) else ""
        if kind == "b":
            return "true" if text == "1" else "false"
        if kind != "n":
            return text
        try:
            n = float(text)
        except ValueError:
            return text
        if self.dates.get(style):
            try:
                when = self.epoch + timedelta(days=n)
                when = (when + timedelta(milliseconds=500)).replace(microsecond=0)
                return str(when.date()) if n >= 1 and when.time() == when.min.time() else str(when) if n >= 1 else str(when.time())
            except (OverflowError, ValueError):
                pass
        return str(int(n)) if math.isfinite(n) and n == int(n) and abs(n) < 1e15 else repr(n)

    def rows(self, member):
        """The rows of a sheet that hold anything."""
        done, row, cell, text = [], [], {}, []
        inside, room = [False], CELL_MAX

        def start(name, a):
            nonlocal room
            if name == "row":
                row.clear()
            elif name == "c":
                room = CELL_MAX
                cell.clear()
                text.clear()
                letters = re.match("[A-Z]{0,3}", a.get("r", "")).group()
                at = 0
                for c in letters:
                    at = at * 26 + ord(c) - 64
                cell.update(at=(at or len(row) + 1) - 1, kind=a.get("t", "n"), style=a.get("s"))
            elif name in ("v", "t"):
                inside[0] = True

        def end(name):
            if name in ("v", "t"):
                inside[0] = False
            elif name == "c" and text and cell["at"] < 16384:
                row.extend([""] * (cell["at"] - len(row)))
                row[cell["at"]:] = [self.value(cell["kind"], cell["style"], "".join(text))]
            elif name == "row" and any(row):
                done.append(list(row))

        def add(part):
            nonlocal room
            room -= len(part)
            if room < 0:
                raise Unreadable("A cell has more than %d million characters." % (CELL_MAX >> 20))
            if inside[0]:
                text.append(part)

        for _ in self.elements(member, start, end, add, whole=False):
            yield from done
            done.clear()


def excel(path):
    book = Workbook(path)
    book.load()
    sheets = book.sheets()
    for i, (name, part) in enumerate(sheets):
        rows = book.rows(part)
        first = next(rows, None)
        if first is None:
            continue
        notes = []
        if len(sheets) > 1:
            others = [clip(n, 40) for j, (n, _) in enumerate(sheets) if j != i]
            notes.append("The workbook has %d sheets, this is \u201c%s\u201d, the first that holds anything. The others: %s."
                         % (len(sheets), clip(name, 40), ", ".join(others[:10]) + (" \u2026" if len(others) > 10 else "")))
        table = headed("Excel, sheet \u201c%s\u201d" % clip(name, 40), itertools.chain([first], rows), notes)

        def watched(rows=table.rows, table=table):
            yield from rows
            if book.cut:
                table.notes.append("The sheet is longer than what is read here: the rest is left out.")

        table.rows = watched()
        return table
    raise Unreadable("The workbook holds no cells.")


def readers(path):
    """The ways to read a file, the next one for when one fails."""
    kind = os.path.splitext(path)[1].lower()
    if kind in (".xlsx", ".xlsm"):
        return [lambda: excel(path)]
    if kind == ".json":
        return [lambda: json_document(path)]
    if kind in (".jsonl", ".ndjson"):
        return [lambda: json_lines(path)]
    return [lambda mode=mode: delimited(path, mode) for mode in MODES]


# --- counting ----------------------------------------------------------------


class Column:
    """What is known of a column. Values are counted while there are few different
    ones; from then on new ones are judged one by one and forgotten."""

    def __init__(self, name, cap):
        self.name, self.cap, self.counts = name, cap, {}
        self.beyond = 0  # values that came when the memory was full
        self.longest = 0
        self.style = None  # how numbers and dates are written; None: not decided
        self.notes = []
        self.pairs, self.singles = [], array("d")  # numbers with how often they came, and others
        self.whole = True  # all numbers are
        self.texts = self.infinite = self.missing = self.numbers = self.dates = self.zoned = self.timed = 0
        self.example = None  # of a text
        self.first = self.last = None  # dates
        self.months = Counter()
        self.tokens = set()  # words for missing

    def meet(self, value):
        """Takes a value that is not among the counted, or too long to be there."""
        self.longest = max(self.longest, len(value))
        if len(value) > KEY_MAX:
            digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
            value = value[:60] + "\u2026\0" + digest
            if value in self.counts:
                self.counts[value] += 1
                return
        if len(self.counts) < self.cap:
            self.counts[value] = 1
            return
        self.beyond += 1
        self.judge(value, 1)

    def decide(self):
        """Finds out from what is there how numbers and dates are written."""
        point = comma = unsure_comma = unsure_point = above = below = slashed = 0
        for value in self.counts:
            if PLAIN.fullmatch(value):
                if "." in value:
                    if DOT_GROUP.fullmatch(value):
                        unsure_point += 1
                    else:
                        point += 1
            elif COMMAS.fullmatch(value):
                if "." in value or value.count(",") > 1:
                    point += 1
                else:
                    unsure_comma += 1
            elif DOTS.fullmatch(value) or DECIMAL_COMMA.fullmatch(value):
                comma += 1
            elif SLASHED.fullmatch(value):
                slashed += 1
                a, b = value.split("/")[:2]
                above, below = above + (int(a) > 12), below + (int(b) > 12)
        numbers = "comma" if comma and not point else "mixed" if comma else "point"
        if numbers == "comma":
            self.notes.append("a comma is the decimal mark")
        elif numbers == "mixed":
            self.notes.append("points and commas are both used as decimal marks, so numbers with a comma are taken for text")
        elif unsure_comma and not point:
            self.notes.append("numbers like 1,234 were taken for thousands; were the comma a decimal mark, they would be 1000 times smaller")
        elif unsure_comma:
            self.notes.append("commas separate thousands")
        if numbers == "point" and unsure_point and not point and not unsure_comma:
            self.notes.append("numbers like 1.234 were taken with a decimal point; did it separate thousands, they would be 1000 times larger")
        slash = None if above and below or not above and not below else "day" if above else "month"
        if slashed and slash is None:
            self.notes.append("it cannot be told which of the numbers in dates like 03/04/2026 is the day, so they are taken for text")
        self.style = numbers, slash

    def number(self, value):
        numbers = self.style[0]
        if PLAIN.fullmatch(value):
            if numbers == "comma" and "." in value:
                if not DOT_GROUP.fullmatch(value):
                    return None
                return float(value.replace(".", ""))
            return float(value)
        if numbers == "point" and COMMAS.fullmatch(value):
            return float(value.replace(",", ""))
        if numbers == "comma" and (DOTS.fullmatch(value) or DECIMAL_COMMA.fullmatch(value)):
            return float(value.replace(".", "").replace(",", "."))
        return None

    def date(self, value):
        found, order = YEAR_FIRST.fullmatch(value), (1, 2, 3)
        if not found:
            found, order = DAY_FIRST.fullmatch(value), (3, 2, 1)
        if not found and self.style[1]:
            found, order = SLASHED.fullmatch(value), (3, 2, 1) if self.style[1] == "day" else (3, 1, 2)
        if not found:
            return None
        try:
            when = datetime(*(int(found.group(i)) for i in order), *(int(found.group(i) or 0) for i in (4, 5, 6)))
            zone = found.group(7)
            if zone and zone != "Z":
                shift = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
                when += shift if zone[0] == "-" else -shift
        except (ValueError, OverflowError):
            return None
        return when, found.group(4) is not None, zone is not None

    def judge(self, value, times):
        """Adds a value to the numbers, the dates, the texts or what is missing."""
        if self.style is None:
            self.decide()
        low = value.lower() if len(value) <= 9 else ""
        if low in MISSING:
            self.missing += times
            self.tokens.add(value)
            return
        n = self.number(value) if len(value) <= 40 else None
        if low in INFINITE or n is not None and math.isinf(n):
            self.infinite += times
            return
        if n is not None:
            self.numbers += times
            self.whole = self.whole and n == int(n)
            if times == 1:
                self.singles.append(n)
            else:
                self.pairs.append((n, times))
            return
        if 8 <= len(value) <= 40 and value[0].isdigit():
            d = self.date(value)
            if d:
                when, timed, zoned = d
                self.dates += times
                self.timed += timed * times
                self.zoned += zoned * times
                self.first, self.last = min(self.first or when, when), max(self.last or when, when)
                self.months[when.year, when.month] += times
                return
        self.texts += times
        if self.example is None:
            self.example = value

    def finish(self, rows):
        """Settles what the column is; rows is how many there are."""
        for value, times in self.counts.items():
            self.judge(value, times)
        self.filled = self.numbers + self.infinite + self.dates + self.texts
        self.missing = rows - self.filled
        words = {v.lower() for v in self.counts}
        self.counts = {v: n for v, n in self.counts.items() if v not in self.tokens}
        self.distinct = len(self.counts)
        values = self.filled or 1
        if not self.filled:
            self.kind = "empty"
        elif self.numbers and self.numbers + self.infinite >= 0.9 * values:
            self.kind = "whole numbers" if self.whole else "numbers"
            self.others = self.texts + self.dates
        elif self.dates >= 0.9 * values:
            self.kind = "dates and times" if self.timed else "dates"
            self.others = values - self.dates
        elif not self.beyond and words <= MISSING | {"true", "false"} or words <= MISSING | {"yes", "no"}:
            self.kind = "boolean"
        else:
            self.kind = "text"
        if self.kind in ("text", "boolean", "empty"):
            self.others = 0
            self.notes = [n for n in self.notes if n.endswith("text")]
            for n, what in ((self.numbers + self.infinite, "numbers"), (self.dates, "dates")):
                if n:
                    self.notes.append("%s of %s values are %s" % (grouped(n), grouped(self.filled), what))
        if self.others:
            other = self.example if self.example is not None else "a date" if self.dates else "a number"
            self.notes.append("%s of another kind, such as \u201c%s\u201d, and not in these figures"
                              % (count(self.others, "value") + (" is" if self.others == 1 else " are"), clip(shown(other), 30)))
        if self.infinite and self.is_number:
            self.notes.append("%s infinite, and not in these figures" % (count(self.infinite, "value") + (" is" if self.infinite == 1 else " are")))
        if self.is_date and 0 < self.zoned:
            self.notes.append("times are in UTC" + ("" if self.zoned == self.dates else ", as far as they have a time zone"))
        self.figures()

    @property
    def is_number(self):
        return self.kind in ("whole numbers", "numbers")

    @property
    def is_date(self):
        return self.kind in ("dates", "dates and times")

    def sorted(self):
        """The numbers in order, each with how often it comes."""
        return heapq.merge(sorted(self.pairs), ((n, 1) for n in sorted(self.singles)))

    def each(self):
        return itertools.chain(self.pairs, zip(self.singles, itertools.repeat(1)))

    def figures(self):
        self.low = self.high = self.mean = self.median = self.deviation = self.total = None
        if not self.is_number:
            return
        n = self.numbers
        self.low = min(itertools.chain((v for v, _ in self.pairs), self.singles))
        self.high = max(itertools.chain((v for v, _ in self.pairs), self.singles))
        seen, lower = 0, None
        for value, times in self.sorted():
            seen += times
            if lower is None and seen >= (n + 1) // 2:
                lower = value
            if seen >= n // 2 + 1:
                self.median = lower / 2 + value / 2 if n % 2 == 0 else value
                break
        try:
            total = math.fsum(v * t for v, t in self.each())
            mean = total / n
            spread = math.fsum((v - mean) ** 2 * t for v, t in self.each())
        except OverflowError:
            total = spread = math.inf
        if not math.isfinite(total) or not math.isfinite(spread):
            self.notes.append("the numbers are too large for a mean")
            return
        self.total, self.mean = total, min(max(mean, self.low), self.high)
        if n > 1:
            self.deviation = math.sqrt(spread / (n - 1))

    def common(self, most):
        """The most common values, and those of the same number by their text."""
        return [(shown(v), n) for v, n in heapq.nsmallest(most, self.counts.items(), key=lambda p: (-p[1], p[0]))]

    def different(self):
        return ("more than " if self.beyond else "") + grouped(self.distinct)

    def range(self):
        if not self.is_date:
            return ""
        form = "%Y-%m-%d %H:%M:%S" if self.kind == "dates and times" else "%Y-%m-%d"
        return "%s to %s" % tuple(stamp(d, form) for d in (self.first, self.last))


def stamp(when, form):
    return ("%04d" % when.year) + when.strftime(form[2:])


def shown(value):
    """A value without the mark of those that were shortened."""
    return value.partition("\0")[0]


class Report:
    """The profile of one file."""

    def __init__(self, name, nbytes):
        self.name, self.bytes = clip(name, 120), nbytes
        self.rows, self.sample, self.columns, self.notes = 0, [], [], []
        self.short = self.long = self.left_out = 0
        self.doubles, self.doubles_in, self.form = 0, 0, ""

    def read(self, table):
        seen, cells, columns = set(), 0, self.columns
        cap = max(1, min(DISTINCT_MAX, DISTINCT_ALL // max(1, min(len(table.names), COLUMNS_MAX))))
        self.left_out = max(0, len(table.names) - COLUMNS_MAX)
        tell = getattr(builtins, "progress", None)  # of the scratchpad
        partial = None
        for row in table.rows:
            if self.rows == ROWS_MAX or cells >= CELLS_MAX:
                partial = "Only the first %s rows were looked at: the file has more." % grouped(self.rows)
                break
            self.rows += 1
            cells += len(row)
            while len(columns) < min(len(table.names), COLUMNS_MAX):
                columns.append(Column(table.names[len(columns)], cap))
            width = len(table.names)
            self.short += len(row) < width
            self.long += len(row) > width
            row = [v.strip() for v in row[:COLUMNS_MAX]]
            if self.rows <= SHOWN_ROWS:
                self.sample.append([clip(v, 80) for v in row])
            if self.rows <= DUPLICATES_MAX:
                self.doubles_in = self.rows
                while row and not row[-1]:
                    row.pop()
                key = hash(tuple(row))
                if key in seen:
                    self.doubles += 1
                seen.add(key)
            for column, value in zip(columns, row):
                if value:
                    if value in column.counts:
                        column.counts[value] += 1
                    else:
                        column.meet(value)
            if tell and self.rows % 20_000 == 0:
                tell("%s rows" % grouped(self.rows))
        while len(columns) < min(len(table.names), COLUMNS_MAX):
            columns.append(Column(table.names[len(columns)], cap))
        self.form, self.notes = table.form, table.notes
        if partial:
            self.notes.insert(0, partial)
        for i, column in enumerate(columns):
            column.finish(self.rows)
            if tell:
                tell("column %d of %d" % (i + 1, len(columns)))
        self.conclude()

    def conclude(self):
        """Notes what a reader should know of the whole."""
        say = self.notes.append
        if self.left_out:
            say("Only the first %d columns were looked at." % COLUMNS_MAX)
        ragged = "JSON" not in self.form and not self.form.startswith("Excel")
        if self.short and ragged:
            say("%s fewer cells than there are columns: what is not there counts as missing." % (count(self.short, "row") + (" has" if self.short == 1 else " have")))
        if self.long:
            say("%s more cells than there are columns: those beyond were not looked at." % (count(self.long, "row") + (" has" if self.long == 1 else " have")))
        where = "" if self.doubles_in == self.rows else " among the first %s" % grouped(self.doubles_in)
        if self.doubles:
            say("%s%s another row before." % (count(self.doubles, "row") + (" is" if self.doubles == 1 else " are"), where + " the same as"))
        elif self.rows > 1:
            say("No row comes twice%s." % where)
        tokens = sorted(set().union(*(c.tokens for c in self.columns))) if self.columns else []
        if tokens:
            say("These count as missing, like empty cells: %s." % ", ".join(tokens[:10]))
        full = [c.name for c in self.columns if c.beyond]
        if full:
            say("%s more different values than are remembered: the most common ones are of the first %s."
                % (listed(full, 5) + (" has" if len(full) == 1 else " have"), grouped(max(c.distinct for c in self.columns if c.beyond))))
        for column in self.columns:
            for note in column.notes:
                say("%s: %s." % (column.name, note))

    def headline(self):
        return "a table of %s and %s" % (count(self.rows, "row"), count(len(self.columns) + self.left_out, "column"))

    # --- in words ---

    def markdown(self):
        """The profile in Markdown, of TEXT_MAX characters at most."""
        out = ["**%s**: %s (%s, %s)" % (mark(self.name), self.headline(), size(self.bytes), mark(self.form)), ""]
        room = TEXT_MAX - len(out[0]) - 600
        overview = [["column", "type", "filled", "missing", "different", "most common, or range"]]
        for c in self.columns:
            overview.append([c.name, c.kind, grouped(c.filled), grouped(c.missing), c.different(), self.gist(c)])
        part, room = lay_out(overview, room * 2 // 3, room)
        out += part
        numbers = [["column", "min", "median", "mean", "max", "std. deviation", "sum"]]
        for c in self.columns:
            if c.is_number:
                numbers.append([c.name] + [number(v) for v in (c.low, c.median, c.mean, c.high, c.deviation, c.total)])
        if len(numbers) > 1:
            part, room = lay_out(numbers, room * 2 // 3, room)
            out += ["", "The numbers (the deviation is that of a sample, n \u2212 1):", ""] + part
        notes = []
        for note in self.notes:
            room -= len(note) + 10
            if room < 0:
                break
            notes.append("- " + mark(clip(note, 600)))
        if len(notes) < len(self.notes):
            notes.append("- and %s more" % count(len(self.notes) - len(notes), "note"))
        return "\n".join(out + [""] + notes).rstrip()

    def gist(self, c):
        if c.is_number:
            return "always " + number(c.low) if c.low == c.high else "%s to %s" % (number(c.low), number(c.high))
        if c.is_date:
            return c.range()
        if c.kind == "empty":
            return ""
        top = c.common(3)
        if top[0][1] == 1 and not c.beyond and len(top) > 1:
            return "all different"
        return ", ".join("%s (%s)" % (clip(v, 30), grouped(n)) for v, n in top)

    # --- as a page ---

    def write(self, path):
        """Writes the page and says what is on it."""
        page, drawn, without = self.page()
        with open(path, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(page)
        said = "%s on it" % count(len(drawn), "chart") if drawn else "No chart is on it"
        if drawn:
            said += ": " + listed(drawn, 12)
        said += "."
        for why, names in without.items():
            said += " None for %s: %s." % (listed(names, 8), why)
        return mark(said)

    def page(self):
        drawn, without, parts = [], {}, []
        for c in self.columns:
            picture, why = chart(c) if len(drawn) < CHARTS_MAX else (None, "there are too many columns")
            if picture:
                drawn.append(c.name)
            else:
                without.setdefault(why, []).append(c.name)
            parts.append(self.section(c, picture, why))
        facts = [("rows", grouped(self.rows)), ("columns", grouped(len(self.columns) + self.left_out)),
                 ("empty cells", share(sum(c.missing for c in self.columns), self.rows * len(self.columns))),
                 ("rows that come again", grouped(self.doubles))]
        body = ["<h1>%s</h1>" % esc(self.name), "<p>%s, %s, %s.</p>" % (esc(self.headline().capitalize()), size(self.bytes), esc(self.form)),
                '<dl class="facts">' + "".join("<div><dt>%s</dt><dd>%s</dd></div>" % (esc(k), esc(v)) for k, v in facts) + "</dl>",
                "<ul>" + "".join("<li>%s</li>" % esc(n) for n in self.notes) + "</ul>", "<h2>Columns</h2>"]
        body += parts
        body += ["<h2>The first rows</h2>", grid([c.name for c in self.columns], self.sample)] if self.sample else []
        return PAGE % (esc(self.name), "\n".join(body)), drawn, without

    def section(self, c, picture, why):
        rows = [("type", c.kind), ("filled", grouped(c.filled)), ("missing", share(c.missing, self.rows)), ("different", c.different())]
        rows += [(k, number(v)) for k, v in (("min", c.low), ("median", c.median), ("mean", c.mean), ("max", c.high),
                                             ("std. deviation", c.deviation), ("sum", c.total)) if v is not None]
        if c.is_date:
            rows.append(("range", c.range()))
        if c.kind == "text":
            rows.append(("longest", count(c.longest, "character")))
        top = c.common(5)
        if top and (top[0][1] > 1 or c.beyond):
            rows.append(("most common", ", ".join("%s (%s)" % (clip(v, 40), grouped(n)) for v, n in top)))
        rows += [("note", n) for n in c.notes]
        facts = "".join("<tr><th>%s</th><td>%s</td></tr>" % (esc(k), esc(v)) for k, v in rows)
        return '<section><h3>%s</h3><div class="pair"><table>%s</table>%s</div></section>' % (
            esc(c.name), facts, picture or '<p class="none">No chart: %s.</p>' % esc(why))


def listed(names, most):
    text = ", ".join(clip(n, 40) for n in names[:most])
    return text + (" and %d more" % (len(names) - most) if len(names) > most else "")


def share(n, of):
    return "%s (%.3g %%)" % (grouped(n), 100 * n / of) if of and n else grouped(n)


def mark(text):
    """The text in Markdown, with nothing in it that marks up."""
    return re.sub(r"([\\|<>\[\]*`&~])", r"\\\1", clean(text))


def lay_out(rows, most, room):
    """A Markdown table of at most so many characters, and the room that is left."""
    lines = ["| %s |" % " | ".join(mark(clip(v, 60)) for v in row) for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    used = 0
    for i, line in enumerate(lines):
        used += len(line) + 1
        if used > most and i > 2:
            left = len(lines) - i
            return lines[:i] + ["", "and %s more." % count(left, "column")], room - used
    return lines, room - used


# --- drawing -----------------------------------------------------------------


def esc(text):
    return html.escape(clean(text), quote=True)


def chart(c):
    """A picture of a column, or why there is none."""
    if c.kind == "empty":
        return None, "there are no values"
    if c.is_number:
        return histogram(c)
    if c.is_date:
        return calendar(c)
    top = c.common(10)
    if c.beyond:
        return None, "there are too many different values"
    if len(c.counts) == 1:
        return None, "all values are the same"
    if top[0][1] == 1:
        return None, "all values are different"
    rest = c.filled - sum(n for _, n in top)
    bars = [(clip(v, 26), n) for v, n in top] + ([("(all others)", rest)] if rest else [])
    return lying(bars, "Most common values of %s" % c.name), None


def histogram(c):
    low, high = c.low, c.high
    if low == high:
        return None, "all values are the same"
    if not math.isfinite(high - low):
        return None, "the numbers are too far apart"
    if c.whole and high - low < 20:  # a bar for each number
        bins, width, start = int(high - low) + 1, 1.0, low - 0.5
    else:
        bins = min(24, max(5, math.ceil(math.sqrt(c.numbers))))
        width, start = (high - low) / bins, low
    if width <= 0:
        return None, "the numbers are too close together"
    tally = [0] * bins
    for value, times in c.each():
        tally[min(bins - 1, max(0, int((value - start) / width)))] += times
    names = [number(low + i) if c.whole and width == 1.0 and start < low else "%s to %s" % (number(start + i * width), number(start + (i + 1) * width))
             for i in range(bins)]
    return standing(list(zip(names, tally)), number(low), number(high), "Histogram of %s" % c.name), None


def calendar(c):
    """Dates by month, or by year if there are many months."""
    for unit in (12, 1):
        tally = Counter()
        for (year, month), times in c.months.items():
            tally[year * 12 + month - 1 if unit == 12 else year] += times
        first, last = min(tally), max(tally)
        if last == first and unit == 12:
            return None, "all dates are in the same month"
        if last - first < 60:
            names = ["%04d-%02d" % (n // 12, n % 12 + 1) if unit == 12 else "%04d" % n for n in range(first, last + 1)]
            bars = [(name, tally[first + i]) for i, name in enumerate(names)]
            return standing(bars, names[0], names[-1], "%s by %s" % (c.name, "month" if unit == 12 else "year")), None
    return None, "the dates are too far apart"


def standing(bars, left, right, title):
    """Bars beside each other; each says what it is when pointed at."""
    top, wide = max(n for _, n in bars), 560 / len(bars)
    out = ['<figure><figcaption>%s</figcaption><svg viewBox="0 0 640 220" role="img" aria-label="%s">' % (esc(title), esc(title)),
           '<line class="axis" x1="70" y1="190" x2="632" y2="190"/>',
           '<text x="64" y="20" text-anchor="end">%s</text><text x="64" y="190" text-anchor="end">0</text>' % grouped(top),
           '<text x="70" y="210">%s</text><text x="632" y="210" text-anchor="end">%s</text>' % (esc(left), esc(right))]
    for i, (name, n) in enumerate(bars):
        tall = 175 * n / top
        out.append('<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f"><title>%s: %s</title></rect>'
                   % (71 + i * wide, 190 - tall, max(1, wide - 1.5), tall, esc(name), grouped(n)))
    return "".join(out) + "</svg></figure>"


def lying(bars, title):
    """Bars under each other, for names that need room."""
    top = max(n for _, n in bars)
    out = ['<figure><figcaption>%s</figcaption><svg viewBox="0 0 640 %d" role="img" aria-label="%s">' % (esc(title), 26 * len(bars) + 8, esc(title))]
    for i, (name, n) in enumerate(bars):
        y = 26 * i + 6
        out.append('<text x="196" y="%d" text-anchor="end">%s</text><rect x="204" y="%d" width="%.2f" height="18"><title>%s: %s</title></rect>'
                   '<text x="%.2f" y="%d">%s</text>' % (y + 14, esc(name), y, max(1, 350 * n / top), esc(name), grouped(n), 212 + 350 * n / top, y + 14, grouped(n)))
    return "".join(out) + "</svg></figure>"


def grid(names, rows):
    head = "".join("<th>%s</th>" % esc(n) for n in names)
    body = "".join("<tr>%s</tr>" % "".join("<td>%s</td>" % esc(row[i] if i < len(row) else "") for i in range(len(names))) for row in rows)
    return '<div class="wide"><table><thead><tr>%s</tr></thead><tbody>%s</tbody></table></div>' % (head, body)


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Profile of %s</title>
<style>
:root { --ink: #1c2024; --quiet: #60646c; --ground: #fff; --card: #f6f7f9; --line: #dfe2e6; --bar: #3264c8; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --quiet: #a5a9b1; --ground: #111316; --card: #1a1d21; --line: #33373d; --bar: #7aa2f7; } }
body { margin: 0 auto; padding: 2rem 1rem; max-width: 68rem; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.facts div, section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .75rem 1rem; }
dt, th, .none, figcaption, ul { color: var(--quiet); }
dd { margin: 0; font-size: 1.4rem; }
section { margin: 1rem 0; }
h3 { margin: 0 0 .5rem; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
.pair > * { flex: 1 1 18rem; min-width: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem .75rem .15rem 0; vertical-align: top; font-weight: normal; }
.wide th, .wide td { border-bottom: 1px solid var(--line); white-space: nowrap; max-width: 20rem; overflow: hidden; text-overflow: ellipsis; }
figure { margin: 0; }
svg { width: 100%%; height: auto; font-size: 13px; }
svg text { fill: var(--quiet); }
svg rect { fill: var(--bar); }
svg .axis { stroke: var(--line); }
</style>
</head>
<body>
%s
</body>
</html>
"""


def profile(path, name=None):
    """Reads the table at path; Unreadable says why there is none."""
    try:
        info = os.stat(path)
    except OSError as error:
        raise Unreadable("The file cannot be opened: %s." % clip(error.strerror, 100)) from None
    if not stat.S_ISREG(info.st_mode):
        raise Unreadable("It is not a plain file.")
    if not info.st_size:
        raise Unreadable("The file is empty.")
    csv.field_size_limit(CELL_MAX)
    ways, trouble = readers(path), None
    while ways:
        report = Report(name or os.path.basename(path), info.st_size)
        try:
            report.read(ways.pop(0)())
            return report
        except csv.Error as error:
            trouble = error
            if "unexpected end" in str(error) or "field larger" in str(error):
                ways = ways[-1:]  # no reading helps that minds quotation marks
    raise Unreadable("The table is not well formed: %s." % clip(trouble, 200))
