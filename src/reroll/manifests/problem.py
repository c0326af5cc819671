"""What is wrong with a manifest, and where: the one error of all the manifest tools."""

from __future__ import annotations


class ManifestError(Exception):
    """A manifest that can't be used, in words for its author.

    `line` and `column` count from 1; 0 where there is none to name. The message never quotes the text around,
    for that may be a Secret's.
    """

    def __init__(self, file: str, line: int, column: int, message: str) -> None:
        super().__init__(file, line, column, message)
        self.file = file
        self.line = line
        self.column = column
        self.message = message

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        return f"{place}: {self.message}"
