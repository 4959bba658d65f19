use super::*;

#[test]
fn places_count_lines_and_characters_from_1() {
    for (at, expected) in [(0, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 1)), (1, (1, 1)), (99, (2, 2))] {
        assert_eq!(position("äb\nc", at), expected, "{at}");
    }
}

#[test]
fn the_nearest_name_is_meant_if_it_is_near() {
    let known = ["prompt", "system_prompt", "TRANSCRIPT", "TITLE", "title"];
    for (name, meant) in [
        ("promt", Some("prompt")),
        ("Prompt", Some("prompt")),
        ("sytem_prompt", Some("system_prompt")),
        ("transcript", Some("TRANSCRIPT")),
        ("TITEL", Some("TITLE")),
        ("titel", Some("title")),
        ("zzz", None),
        ("", None),
    ] {
        assert_eq!(nearest(name, known), meant, "{name}");
    }
    assert_eq!(way_out("promt", known), "; did you mean `prompt`?");
    assert_eq!(way_out("zzz", ["a", "b", "c"]), "; there is `a`, `b` and `c`");
    assert_eq!(way_out("zzz", []), "");
}

#[test]
fn what_is_repeated_is_short_and_harmless() {
    assert_eq!(quote("a\n  b\u{1b}[31m"), "a b[31m");
    assert_eq!(quote(&"x".repeat(100)), format!("{}…", "x".repeat(60)));
}

#[test]
fn problems_come_in_the_order_of_the_file_each_once() {
    let mut problems = Problems::new("a\nb\n");
    problems.add(2, "second");
    problems.add(0, "first");
    problems.add(2, "second");
    let told: Vec<String> = problems.or(Some(())).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["line 1, column 1: first", "line 2, column 1: second"]);
}
