//! An answer as sections of text, lists and tables. Entry point: [`Report`].

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

/// The widest that a table gets.
const COLUMNS_MAX: u16 = 100;

/// What is printed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    title: String,
    sections: Vec<Section>,
}

/// A part with a title of its own.
#[derive(Debug)]
pub(crate) struct Section {
    title: String,
    blocks: Vec<Block>,
}

#[derive(Debug)]
enum Block {
    Text(String),
    List(Vec<String>),
    Table { header: Vec<String>, rows: Vec<Vec<String>> },
}

impl Report {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), sections: Vec::new() }
    }

    /// Adds a section, unless it says nothing.
    pub(crate) fn add(&mut self, section: Section) {
        if !section.blocks.is_empty() {
            self.sections.push(section);
        }
    }

    pub(crate) fn insert(&mut self, at: usize, section: Section) {
        self.sections.insert(at, section);
    }

    /// For a terminal.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n", self.title);
        for section in &self.sections {
            text += &format!("\n{}\n", section.title);
            for block in &section.blocks {
                match block {
                    Block::Text(line) => text += &wrapped(line, "", ""),
                    Block::List(lines) => text.extend(lines.iter().map(|it| wrapped(it, "- ", "  "))),
                    Block::Table { header, rows } => {
                        let mut table = Table::new();
                        table.load_style(UTF8_FULL_CONDENSED);
                        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(COLUMNS_MAX);
                        table.set_header(header).add_rows(rows);
                        text += &format!("{table}\n");
                    }
                }
            }
        }
        text
    }

    /// For a page.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# {}\n", self.title);
        for section in &self.sections {
            text += &format!("\n## {}\n", section.title);
            for block in &section.blocks {
                text.push('\n');
                match block {
                    Block::Text(line) => text += &format!("{line}\n"),
                    Block::List(lines) => text.extend(lines.iter().map(|it| format!("- {it}\n"))),
                    Block::Table { header, rows } => {
                        text += &format!("| {} |\n|{}\n", cells(header), "---|".repeat(header.len()));
                        text.extend(rows.iter().map(|row| format!("| {} |\n", cells(row))));
                    }
                }
            }
        }
        text
    }
}

impl Section {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), blocks: Vec::new() }
    }

    pub(crate) fn text(mut self, line: impl Into<String>) -> Self {
        self.blocks.push(Block::Text(line.into()));
        self
    }

    /// Adds a list, unless it is empty.
    pub(crate) fn list(mut self, lines: Vec<String>) -> Self {
        if !lines.is_empty() {
            self.blocks.push(Block::List(lines));
        }
        self
    }

    /// Adds a table, unless it has no rows.
    pub(crate) fn rows(mut self, header: &[&str], rows: Vec<Vec<String>>) -> Self {
        if !rows.is_empty() {
            let header = header.iter().map(|it| (*it).to_owned()).collect();
            self.blocks.push(Block::Table { header, rows });
        }
        self
    }
}

fn cells(row: &[String]) -> String {
    row.iter().map(|it| it.replace('|', "\\|").replace('\n', "<br>")).collect::<Vec<_>>().join(" | ")
}

/// Lines of at most [`COLUMNS_MAX`] columns. Wide letters count two, and may be broken anywhere.
fn wrapped(text: &str, first: &str, further: &str) -> String {
    let mut out = String::from(first);
    let mut column = width(first);
    for word in words(text) {
        let wide = width(word.trim_end());
        if column + wide > usize::from(COLUMNS_MAX) && column > width(further) {
            out.truncate(out.trim_end().len());
            out += &format!("\n{further}");
            column = width(further);
        }
        out += word;
        column += width(word);
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}

/// What may stand at the beginning of a line: words with the spaces after them, and single wide letters.
fn words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut begin = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let end = at + letter.len_utf8();
        let next = letters.peek().map(|it| it.1);
        // Punctuation stays with the letter before it.
        let held = next.is_some_and(|it| it == ' ' || "，。；：、）》”！？".contains(it));
        if (letter == ' ' || is_wide(letter) || next.is_some_and(is_wide)) && !held {
            found.push(&text[begin..end]);
            begin = end;
        }
    }
    found.push(&text[begin..]);
    found
}

fn width(text: &str) -> usize {
    text.chars().map(|it| if is_wide(it) { 2 } else { 1 }).sum()
}

/// Whether a letter takes two columns of a terminal.
fn is_wide(letter: char) -> bool {
    matches!(letter as u32, 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE4F | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x20000..=0x3FFFD)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn report() -> Report {
        let mut report = Report::new("scenario 5g-mec");
        report.add(Section::new("empty"));
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        report.add(
            Section::new("layers")
                .text("a text")
                .list(vec!["first".to_owned(), "long ".repeat(30)])
                .rows(&["layer", "chosen"], vec![row(["runtime", "a|b"]), row(["存储", &"轻量高效".repeat(20)])]),
        );
        report
    }

    #[test]
    fn tables_and_lists_keep_to_their_width() {
        let text = report().table();
        let widest = text.lines().map(|it| it.chars().map(|it| if is_wide(it) { 2 } else { 1 }).sum::<usize>()).max();
        assert!(widest <= Some(100), "{widest:?}\n{text}");
        assert!(!text.contains("empty"), "{text}");
    }

    #[test]
    fn markdown_escapes_what_ends_a_cell() {
        let text = report().markdown();
        expect![[r#"
            # scenario 5g-mec

            ## layers

            a text

            - first
        "#]]
        .assert_eq(&text.lines().take(7).map(|it| format!("{it}\n")).collect::<String>());
        assert!(text.contains("| runtime | a\\|b |"), "{text}");
    }

    #[test]
    fn chinese_is_broken_between_letters_and_keeps_its_punctuation() {
        let text = wrapped(&"编排层轻量，".repeat(12), "- ", "  ");
        for line in text.lines().skip(1) {
            assert!(!line.trim_start().starts_with('，'), "{text}");
        }
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
