"""Draw what the scenarios send: shop receipts as photographs and a handful of small files.

    python scenarios/draw_payloads.py [FOLDER]     (default: payloads beside this file)

The same files come out every time: each has a seed of its own, and the font ships with Pillow.
"""

from __future__ import annotations

import io
import json
import random
import sys
import zipfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

WIDTH, ROW, MARGIN, FONT_SIZE = 320, 36, 18, 20
RECEIPTS = {2: 6, 6: 4, 12: 3}  # lines on the receipt: how many such receipts

ITEMS = (
    "Apple juice", "Bagel salmon", "Butter 250 g", "Cheddar mild", "Cinnamon roll", "Coffee beans", "Croissant",
    "Dish soap", "Espresso", "Filter paper", "Green tea", "Honey jar", "Lemon cake", "Milk 1 l", "Oat drink",
    "Olive oil", "Orange juice", "Paper towels", "Rye bread", "Sea salt", "Sparkling water", "Tomato soup",
)  # fmt: skip


def receipt(lines: int, number: int) -> list[tuple[str, str]]:
    """(name, price) of each line; the last line is the total of those above it."""
    draw = random.Random(lines * 1000 + number)
    names = draw.sample(ITEMS, lines - 1)
    cents = [draw.randrange(95, 1999, 5) for _ in names]
    return [*zip(names, map(price, cents), strict=True), ("TOTAL EUR", price(sum(cents)))]


def price(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def photograph(rows: list[tuple[str, str]], seed: int) -> Image.Image:
    """A receipt as a phone sees it: paper not quite white, a little noise, blur and tilt."""
    draw = random.Random(seed)
    size = (WIDTH, 2 * MARGIN + ROW * len(rows))
    paper = tuple(draw.randrange(232, 250) for _ in range(3))
    image = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(FONT_SIZE)
    for number, (name, amount) in enumerate(rows):
        ink = (draw.randrange(20, 60),) * 3
        top = MARGIN + ROW * number
        pen.text((MARGIN, top), name, fill=ink, font=font)
        pen.text((WIDTH - MARGIN - pen.textlength(amount, font), top), amount, fill=ink, font=font)
    grain = Image.frombytes("L", size, draw.randbytes(size[0] * size[1])).convert("RGB")
    image = Image.blend(image, grain, 0.05).filter(ImageFilter.GaussianBlur(0.5))
    return image.rotate(draw.uniform(-0.8, 0.8), Image.Resampling.BICUBIC, fillcolor=paper)


def as_jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=82)
    return file.getvalue()


def receipts() -> dict[str, bytes]:
    """Content by file name: receipt-02-1.jpg is the first with two lines."""
    return {
        f"receipt-{lines:02d}-{number}.jpg": as_jpeg(photograph(receipt(lines, number), seed=lines * 1000 + number))
        for lines, count in RECEIPTS.items()
        for number in range(1, count + 1)
    }


def files() -> dict[str, bytes]:
    """Content by file name: one small file per kind."""
    rows = [receipt(6, number) for number in range(1, 5)]
    orders = [[{"item": name, "price": amount} for name, amount in order] for order in rows]
    table = "order,item,price\n" + "".join(
        f"{number},{name},{amount}\n" for number, order in enumerate(rows, 1) for name, amount in order
    )
    return {
        "orders.json": json.dumps({"currency": "EUR", "orders": orders}, indent=1).encode(),
        "orders.csv": table.encode(),
        "orders.html": _html(rows[0]),
        "orders.zip": _archive("orders.csv", table.encode()),
        "total.py": _PYTHON.encode(),
        "total.sh": _SHELL.encode(),
        "receipt.png": _png(photograph(receipt(2, 1), seed=2001)),
        "receipt.pdf": _pdf(rows[0]),
        "readme.txt": _TEXT.encode(),
    }


_PYTHON = '''"""Add up the orders of a day."""

import csv
import sys
from decimal import Decimal


def totals(path):
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            yield row["order"], Decimal(row["price"])


if __name__ == "__main__":
    for order, amount in totals(sys.argv[1]):
        print(f"{order:>6} {amount:>8}")
'''

_SHELL = """#!/bin/sh
# Fetch the orders of a day and add them up.
set -eu
day=${1:-$(date +%F)}
for file in /var/orders/"$day"/*.csv; do
    [ -e "$file" ] || { echo "no orders on $day" >&2; exit 1; }
    tail -n +2 "$file" | cut -d, -f3 | paste -sd+ - | bc
done
"""

_TEXT = """The orders of a week, as they were printed at the counter.

Each receipt lists what was bought and what it cost, and ends with the total. Prices are in euros and
include taxes. Receipts that were cancelled are kept in the drawer and are not part of this collection.
Ask at the counter before throwing anything away, please.
"""


def _html(rows: list[tuple[str, str]]) -> bytes:
    cells = "".join(f"  <tr><td>{name}</td><td>{amount}</td></tr>\n" for name, amount in rows)
    head = '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Orders</title></head>\n'
    return f"{head}<body>\n<h1>Orders</h1>\n<table>\n{cells}</table>\n</body>\n</html>\n".encode()


def _archive(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), content)
    return file.getvalue()


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.convert("L").save(file, "PNG")
    return file.getvalue()


def _pdf(rows: list[tuple[str, str]]) -> bytes:
    """One page of text, written by hand: five objects, a table of where they are, a trailer."""
    shown = "".join(f"({name} {amount}) Tj 0 -18 Td " for name, amount in rows)
    page = f"BT /F1 12 Tf 72 720 Td {shown}ET".encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    content = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    return content + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)


def main(folder: Path) -> None:
    for name, drawn in (("receipts", receipts()), ("files", files())):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file_name, content in drawn.items():
            (folder / name / file_name).write_bytes(content)
        print(f"{len(drawn)} files in {folder / name}, {sum(map(len, drawn.values())) // 1024} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "payloads")
