use super::*;

fn finding(severity: Severity, fix: Option<&str>) -> Finding {
    Finding { check: "home", severity, what: "a\u{1b}[31m is so".into(), fix: fix.map(Into::into) }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn each_finding_has_its_line_and_its_command() {
    let all =
        vec![finding(Severity::Ok, None), finding(Severity::Warning, Some("rm x")), finding(Severity::Problem, None)];
    let all = Findings { healthy: false, findings: all };
    let text = plain(&findings(&all, false));
    insta::assert_snapshot!(text);
    assert_eq!(plain(&findings(&all, true)).lines().count(), 3, "what is well, and the sum, are left out");
}

#[test]
fn a_healthy_one_is_told_so() {
    let well = Findings { healthy: true, findings: vec![finding(Severity::Ok, None)] };
    assert!(findings(&well, false).ends_with("\nall is well\n"));
    assert_eq!(findings(&well, true), "");
}
