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
        let mut widths = Vec::new();
        for row in rows {
            widen(&mut widths, row);
        }
        rows.iter()
            .map(|row| self.row(indent, row, &widths))
            .collect()
    }

    /// One such row, in columns of these widths; the line's end included.
    pub fn row(self, indent: &str, row: &[(Tone, String)], widths: &[usize]) -> String {
        let mut line = indent.to_owned();
        let mut gap = 0;
        for ((tone, text), width) in row.iter().zip(widths) {
            if !text.is_empty() {
                line.push_str(&" ".repeat(gap));
                line.push_str(&self.text(*tone, text));
                gap = 0;
            }
            gap += width.saturating_sub(text.chars().count()) + 2;
        }
        line.push('\n');
        line
    }
}

/// Makes the columns wide enough for this row too.
pub fn widen(widths: &mut Vec<usize>, row: &[(Tone, String)]) {
    widths.resize(widths.len().max(row.len()), 0);
    for (width, (_, text)) in widths.iter_mut().zip(row) {
        *width = (*width).max(text.chars().count());
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
    }
}
