//! Names of files, of texts that nobody vouches for: the filter `safe_name`.

/// Longest name, in bytes: room for an ending and a number within the 255 that disks take.
const LONGEST: usize = 200;

/// What a text becomes of which nothing is left.
const EMPTY: &str = "untitled";

/// A text as the name of one file: visible, in the folder that it is joined to, and no option of any program.
///
/// `/`, `\` and `:`, which divide paths here or elsewhere, become `-`; white space becomes one space; what shows nothing
/// or turns the direction of a text is left out, as are dots, spaces and dashes at the beginning and spaces and dots at
/// the end.
pub fn safe_name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        match c {
            '/' | '\\' | ':' => name.push('-'),
            c if c.is_whitespace() => {
                if !name.ends_with(' ') {
                    name.push(' ');
                }
            }
            c if c.is_control() || is_invisible(c) => {}
            c => name.push(c),
        }
    }
    let name = name.trim_start_matches(['.', ' ', '-']);
    let mut end = name.len().min(LONGEST);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let name = name[..end].trim_end_matches(['.', ' ']);
    if name.is_empty() { EMPTY.to_owned() } else { name.to_owned() }
}

/// Marks of direction and characters without width, by which one name looks like another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
