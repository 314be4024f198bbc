//! A line of `nodes.tab` as it is written: five columns, what parts them, and a comment.
//!
//! What is not changed stays as it is, byte by byte, and columns stay where they are as far
//! as there is room. Knows how a line is parted, and not what its words mean.

/// Columns, as docs/provisioning.md has them.
pub const KEY: usize = 0;
pub const NAME: usize = 1;
pub const IMAGE: usize = 2;
pub const LAYERS: usize = 3;
pub const WORDS: usize = 4;
const COLUMNS: usize = 5;
const MISSING: &str = "-";
/// What parts columns that are added.
const GAP: &str = "  ";

/// What one is to be.
pub type Change<'a> = (usize, &'a str);

/// A line with at least a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    lead: String,
    /// Each with the white space behind it.
    cells: Vec<(String, String)>,
    comment: String,
}

impl Row {
    /// `None` for a line of comment or of nothing.
    pub fn parse(line: &str) -> Option<Row> {
        let is_space = |c: char| c.is_ascii_whitespace();
        let body = line.trim_start_matches(is_space);
        let lead = line[..line.len() - body.len()].to_string();
        let mut row = Row { lead, cells: Vec::new(), comment: String::new() };
        let mut rest = body;
        while !rest.is_empty() {
            if rest.starts_with('#') {
                row.comment = rest.into();
                break;
            }
            let (word, behind) = rest.split_at(rest.find(is_space).unwrap_or(rest.len()));
            let next = behind.trim_start_matches(is_space);
            let gap = &behind[..behind.len() - next.len()];
            if row.cells.len() < COLUMNS {
                row.cells.push((word.into(), gap.into()));
            } else if let Some((words, gap_before)) = row.cells.last_mut() {
                // The last column is all that is left.
                words.push_str(gap_before);
                words.push_str(word);
                *gap_before = gap.into();
            }
            rest = next;
        }
        (!row.cells.is_empty()).then_some(row)
    }

    /// What stands in a column; `-` where nothing does.
    pub fn column(&self, column: usize) -> &str {
        self.cells.get(column).map_or(MISSING, |cell| &cell.0)
    }

    /// Changes columns. One that ends with a group as its image has that group's layers and
    /// words: they are written out where one of the two is other now.
    pub fn change(&mut self, changes: &[Change]) {
        let wanted = |column: usize| changes.iter().find(|c| c.0 == column).map(|c| c.1);
        let group = self.column(IMAGE).to_string();
        let is_short = self.cells.len() == LAYERS && group.starts_with('@');
        let stays_short = wanted(IMAGE).is_none_or(|image| image.starts_with('@'));
        let is_spelled = wanted(LAYERS).is_some() || wanted(WORDS).is_some();
        let group = if stays_short { wanted(IMAGE).unwrap_or(&group) } else { &group }.to_string();
        let is_written_out = is_short && (is_spelled || !stays_short);
        for column in 0..COLUMNS {
            let of_group = is_written_out && column >= LAYERS;
            if let Some(text) = wanted(column).or(of_group.then_some(&group)) {
                self.set(column, text);
            }
        }
    }

    fn set(&mut self, column: usize, text: &str) {
        let text = if text.is_empty() { MISSING } else { text };
        let is_new = column >= self.cells.len();
        while self.cells.len() <= column {
            let text = if self.cells.len() == column { text } else { MISSING };
            let end = match self.cells.last_mut() {
                Some((_, gap)) => std::mem::replace(gap, GAP.into()),
                None => String::new(),
            };
            self.cells.push((text.into(), end));
        }
        if is_new {
            return;
        }
        let is_last = column + 1 == self.cells.len() && self.comment.is_empty();
        let (old, gap) = &mut self.cells[column];
        let (before, after) = (old.chars().count(), text.chars().count());
        *old = text.into();
        if is_last || gap.is_empty() || gap.contains(|c| c != ' ') {
            return;
        }
        // What is behind it stays where it is.
        let len = (before + gap.len()).saturating_sub(after).max(1);
        *gap = " ".repeat(len);
    }

    /// A line with these columns, set as this one.
    pub fn like(model: Option<&Row>, columns: &[&str]) -> String {
        let mut line = String::new();
        let (mut place, mut at) = (0, 0);
        for (column, text) in columns.iter().enumerate() {
            if column > 0 {
                let gap = usize::max(at - place.min(at), GAP.len());
                line.push_str(&" ".repeat(gap));
                place += gap;
            }
            line.push_str(text);
            place += text.chars().count();
            let wide = model.and_then(|model| model.cells.get(column));
            let wide = wide.map(|(text, gap)| text.chars().count() + gap.chars().count());
            at = wide.map_or(place, |wide| at + wide);
        }
        line
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.lead)?;
        for (text, gap) in &self.cells {
            write!(f, "{text}{gap}")?;
        }
        f.write_str(&self.comment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(line: &str, changes: &[Change]) -> String {
        let mut row = Row::parse(line).unwrap();
        assert_eq!(row.to_string(), line, "what is read is what is written");
        row.change(changes);
        row.to_string()
    }

    #[test]
    fn columns_and_comments_stay_where_they_are() {
        let line = "  n1   -     debian   all   a  b  # why\r";
        assert_eq!(changed(line, &[(IMAGE, "x")]), "  n1   -     x        all   a  b  # why\r");
        assert_eq!(
            changed(line, &[(IMAGE, "longer-than-that")]),
            "  n1   -     longer-than-that all   a  b  # why\r"
        );
        assert_eq!(changed(line, &[(WORDS, "c")]), "  n1   -     debian   all   c     # why\r");
        assert_eq!(changed("n1\t-\tx\ty", &[(IMAGE, "long")]), "n1\t-\tlong\ty");
        assert_eq!(changed("n1 # why", &[(LAYERS, "all")]), "n1  -  -  all # why");
        assert_eq!(changed("n1 - x all w", &[(WORDS, "")]), "n1 - x all -");
        for line in ["", "   ", "# n1", "  #"] {
            assert_eq!(Row::parse(line), None);
        }
    }

    #[test]
    fn layers_and_words_of_a_group_are_written_out_where_one_is_other() {
        let line = "n1 - @gpu";
        assert_eq!(changed(line, &[(IMAGE, "@cpu")]), "n1 - @cpu");
        assert_eq!(changed(line, &[(IMAGE, "x")]), "n1 - x  @gpu  @gpu");
        assert_eq!(changed(line, &[(WORDS, "quiet")]), "n1 - @gpu  @gpu  quiet");
        assert_eq!(changed(line, &[(LAYERS, "a"), (IMAGE, "@cpu")]), "n1 - @cpu  a  @cpu");
    }

    #[test]
    fn a_new_line_is_set_as_its_model() {
        let model = Row::parse("io[1-4]   -     debian   all").unwrap();
        assert_eq!(
            Row::like(Some(&model), &["n1", "n001", "x", "y", "z"]),
            "n1        n001  x        y  z"
        );
        assert_eq!(
            Row::like(Some(&model), &["52:54:00:00:00:01", "n1", "x"]),
            "52:54:00:00:00:01  n1  x"
        );
        assert_eq!(Row::like(None, &["n1", "-"]), "n1  -");
    }
}
