"""Add up the orders of a day."""

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
