use super::*;

/// A workflow that calls these.
fn caller(name: &str, calls: &[&str]) -> (Workflow, String) {
    let steps: Vec<String> = calls.iter().map(|call| format!("[[step]]\nworkflow = {{ {call} }}\n")).collect();
    let steps = steps.concat();
    let text = format!("[inputs]\nlanguage = {{}}\n{steps}[[step]]\nnotify = {{ text = \"a\" }}\n");
    (Workflow::read(name, &text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}")), text)
}

/// What is wrong with the calls of the first.
fn problems(all: &[(&str, &[&str])]) -> Vec<String> {
    let all: Vec<(Workflow, String)> = all.iter().map(|(name, calls)| caller(name, calls)).collect();
    let workflows: Vec<Workflow> = all.iter().map(|(workflow, _)| workflow.clone()).collect();
    call_problems(&workflows[0], &all[0].1, &workflows).iter().map(ToString::to_string).collect()
}

#[test]
fn calls_that_find_their_workflows_are_fine() {
    let all: [(&str, &[&str]); 3] = [("a", &["name = 'b'", "name = 'c'"]), ("b", &["name = 'c'"]), ("c", &[])];
    assert_eq!(problems(&all), [] as [String; 0]);
}

#[test]
fn circles_are_named_whole() {
    let all: [(&str, &[&str]); 3] = [("a", &["name = 'b'"]), ("b", &["name = 'c'"]), ("c", &["name = 'a'"])];
    assert_eq!(problems(&all), ["line 4, column 21: this never ends: a calls b calls c calls a"]);
    // Of a circle elsewhere, those in it are told.
    let all: [(&str, &[&str]); 3] = [("a", &["name = 'b'"]), ("b", &["name = 'c'"]), ("c", &["name = 'b'"])];
    assert_eq!(problems(&all), [] as [String; 0]);
    let calls = |name: &str| match name {
        "a" => vec!["b".to_owned(), "c".to_owned()],
        "b" => vec!["c".to_owned()],
        "c" => vec!["b".to_owned()],
        _ => Vec::new(),
    };
    assert_eq!(cycle("a", calls), Some(["a", "c", "b", "c"].map(str::to_owned).to_vec()));
    assert_eq!(cycle("d", calls), None);
}

#[test]
fn workflows_lie_eight_deep() {
    let names: Vec<String> = (0..12).map(|number| format!("w{number}")).collect();
    let deep = |count: usize| {
        let calls: Vec<Vec<String>> = (1..=count)
            .map(|next| if next < count { vec![format!("name = '{}'", names[next])] } else { Vec::new() })
            .collect();
        let calls: Vec<Vec<&str>> = calls.iter().map(|calls| calls.iter().map(String::as_str).collect()).collect();
        let all: Vec<(&str, &[&str])> = calls.iter().enumerate().map(|(at, calls)| (&*names[at], &**calls)).collect();
        problems(&all)
    };
    assert_eq!(deep(8), [] as [String; 0]);
    assert_eq!(deep(9), ["line 4, column 21: workflows that call each other lie at most 8 deep"]);
}

#[test]
fn what_is_called_must_be_there_and_be_given_what_it_needs() {
    let all: [(&str, &[&str]); 2] = [("a", &["name = 'bb'", "name = 'b', inputs = { langage = 'x' }"]), ("bbb", &[])];
    assert_eq!(
        problems(&all),
        [
            "line 4, column 21: there is no workflow `bb` that can run; did you mean `bbb`?",
            "line 6, column 21: there is no workflow `b` that can run; there is `a` and `bbb`",
        ]
    );
    let needy =
        Workflow::read("needy", "[inputs]\nlanguage = { required = true }\n[[step]]\nnotify = { text = \"a\" }")
            .unwrap();
    let (a, text) = caller("a", &["name = 'needy', inputs = { langage = 'x', TITLE = 'y' }"]);
    let told: Vec<String> =
        call_problems(&a, &text, &[a.clone(), needy]).iter().map(|problem| problem.message.clone()).collect();
    assert_eq!(
        told,
        [
            "the workflow `needy` has no input `langage`; did you mean `language`?",
            "the workflow `needy` must be given `language`"
        ]
    );
}
