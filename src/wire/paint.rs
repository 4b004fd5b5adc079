//! Text for a person's terminal: colours where they are wanted, columns that stand below one another. It knows the
//! few colours that mean something here and no other, and draws nothing.

/// Whether there are colours (ECMA-48, SGR), or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    /// Whether to use them.
    pub colours: bool,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// Beside the point.
    Faint,
    /// As it should be.
    Good,
    /// To be watched.
    Warning,
    /// A person is needed.
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
        }
    }
}

impl Paint {
    /// The text in its colour. The text is printable already.
    pub fn text(self, tone: Tone, text: &str) -> String {
        match tone.code() {
            code if self.colours && !code.is_empty() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }

    /// Rows as lines, each cell as wide as the widest of its column, two blanks between, none at the end. A cell's
    /// width is its number of characters.
    pub fn columns(self, indent: &str, rows: &[Vec<(Tone, String)>]) -> String {
        let count = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|(_, text)| text.chars().count()).max()
        };
        let widths: Vec<usize> = (0..count).map(|n| width(n).unwrap_or(0)).collect();
        let mut out = String::new();
        for row in rows {
            out.push_str(indent);
            let cells = row.iter().zip(&widths);
            self.row(
                cells.map(|((tone, text), width)| (*tone, text.as_str(), *width)),
                &mut out,
            );
        }
        out
    }

    /// One such row behind what is in `out`: cells with the widths of their columns, then the line's end.
    pub fn row<'t>(self, cells: impl Iterator<Item = (Tone, &'t str, usize)>, out: &mut String) {
        let mut gap = 0;
        for (tone, text, width) in cells {
            if !text.is_empty() {
                blank(gap, out);
                match tone.code() {
                    code if self.colours && !code.is_empty() => {
                        out.push_str(&self.text(tone, text))
                    }
                    _ => out.push_str(text),
                }
                gap = 0;
            }
            gap += width.saturating_sub(text.chars().count()) + 2;
        }
        out.push('\n');
    }
}

/// So many blanks, not one by one: a long table is mostly blanks.
fn blank(mut count: usize, out: &mut String) {
    const BLANKS: &str = "                                                                ";
    while count > 0 {
        let some = BLANKS.get(..count).unwrap_or(BLANKS);
        out.push_str(some);
        count -= some.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_with_and_without_colours() {
        let cell = |tone, text: &str| (tone, text.to_owned());
        let rows = [
            vec![
                cell(Tone::Bad, "a"),
                cell(Tone::Plain, "bé"),
                cell(Tone::Plain, ""),
            ],
            vec![
                cell(Tone::Plain, "long"),
                cell(Tone::Plain, ""),
                cell(Tone::Plain, "end"),
            ],
        ];
        let plain = Paint::default().columns("  ", &rows);
        assert_eq!(plain, "  a     bé\n  long      end\n");
        let coloured = Paint { colours: true }.columns("", &rows);
        assert_eq!(coloured, "\u{1b}[31ma\u{1b}[0m     bé\nlong      end\n");
        let mut wide = String::new();
        let cells = [(Tone::Plain, "a", 200), (Tone::Plain, "b", 1)];
        Paint::default().row(cells.into_iter(), &mut wide);
        assert_eq!(wide, format!("a{}b\n", " ".repeat(201)));
    }
}
