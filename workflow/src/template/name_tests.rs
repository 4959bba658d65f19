use std::path::Path;

use proptest::prelude::*;

use super::*;

#[test]
fn a_text_becomes_one_name() {
    for (text, name) in [
        ("Notes of today", "Notes of today"),
        ("../../etc/passwd", "etc-passwd"),
        ("/etc/passwd", "etc-passwd"),
        ("a/../b", "a-..-b"),
        ("..", "untitled"),
        ("", "untitled"),
        (" \n\t ", "untitled"),
        (".hidden", "hidden"),
        ("-rf *", "rf *"),
        ("C:\\Windows", "C--Windows"),
        ("a\n\n  b\0\u{1b}c.", "a bc"),
        ("gnp\u{202e}exe", "gnpexe"),
        ("Übersicht 東京 🦊", "Übersicht 東京 🦊"),
    ] {
        assert_eq!(safe_name(text), name, "{text:?}");
    }
    let long = safe_name(&"東".repeat(500));
    assert!(long.len() <= LONGEST && long.chars().all(|c| c == '東'));
}

proptest! {
    #[test]
    fn whatever_the_text_it_is_one_file_in_its_folder(text in "\\PC*|[./\\\\\0 -]*|.*") {
        let name = safe_name(&text);
        prop_assert!(!name.is_empty() && name.len() <= LONGEST);
        let path = Path::new("/folder").join(&name);
        prop_assert_eq!(path.parent(), Some(Path::new("/folder")));
        prop_assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(&*name));
        prop_assert!(!name.starts_with(['.', '-', ' ']) && !name.contains(['/', '\0', '\n']));
        prop_assert_eq!(safe_name(&name), name, "what is safe stays");
    }
}
