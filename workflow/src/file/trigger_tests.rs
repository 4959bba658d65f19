use super::*;
use crate::Workflow;

#[track_caller]
fn check(written: &str, expected: &str) {
    let text = format!("[inputs]\nlanguage = {{}}\n[[trigger]]\n{written}\n[[step]]\nnotify = {{ text = \"a\" }}\n");
    let problems = Workflow::read("test", &text).err().unwrap_or_default();
    let told: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
    assert_eq!(told.join("\n"), expected, "{written}");
}

#[test]
fn triggers_that_start_nothing_are_refused() {
    check("folder = { path = \"/a\" }", "");
    check("", "this trigger never starts anything; it needs one of `folder`, `schedule`, `event` and `webhook`");
    check("floder = { path = \"/a\" }", "there is no key `floder` here; did you mean `folder`?");
    check(
        "folder = { path = \"/a\" }\nwebhook = { token = \"t\" }",
        "a trigger is one thing, but this has `folder` and `webhook`; make a [[trigger]] of each",
    );
    check("folder = {}", "`path` is missing here");
    check("folder = { path = \"Transcripts\" }", "the folder `Transcripts` must be absolute, or from ~/ on");
    check(
        "folder = { path = \"/a\", pattern = \"b/*.txt\" }",
        "the pattern b/*.txt has a slash; it is of names, and `path` is the folder",
    );
    check("folder = { path = \"/a\", pattern = \"[\" }", "this pattern is none: invalid range pattern");
    let bytes = "this must be a number of bytes such as 500000 or \"500k\", above 0 and at most 1 MiB";
    check("folder = { path = \"/a\", most_bytes = \"1G\" }", &format!("{bytes}, not \"1G\""));
    check("folder = { path = \"/a\", most_bytes = 0 }", &format!("{bytes}, not 0"));
    check("folder = { path = \"/a\", most_bytes = \"1M\" }", "");
    check("event = { on = [] }", "this trigger has no event in `on`; name one, as \"model_loaded\"");
    check(
        "event = { on = [\"model_loadde\"] }",
        "this must be \"model_added\", \"model_changed\", \"model_removed\", \"model_loaded\", \"model_unloaded\", \
         \"pull_finished\", \"pull_failed\", \"memory_pressure\" or \"run_ended\", not \"model_loadde\"; did you mean \"model_loaded\"?",
    );
    check(
        "event = { on = [\"run_ended\"] }",
        "runs start no others by `run_ended`; call the other with a `workflow` step, or follow `run_ended` with a hook",
    );
    check(
        "webhook = { token = \"my token\" }",
        "the secret `my token` can be no name: 1 to 64 letters, digits, - and _, a letter first",
    );
}

#[test]
fn schedules_are_one_of_two() {
    let words = "a schedule has either `cron` or `every`: { cron = \"0 7 * * 1-5\" } or { every = \"1h\" }";
    check("schedule = {}", words);
    check("schedule = { cron = \"* * * * *\", every = \"1h\" }", words);
    check("schedule = { every = \"1h\" }", "");
    check("schedule = { cron = \"99 * * * *\" }", "the minute `99` is none: 0 to 59 can be");
    check("schedule = { cron = 5 }", "this must be a text such as \"0 7 * * 1-5\", not 5");
}

#[test]
fn what_is_required_must_come_from_somewhere() {
    for (trigger, is_given) in [
        ("schedule = { every = \"1h\" }", false),
        ("event = { on = [\"model_loaded\"] }", false),
        ("folder = { path = \"/a\" }", true),
        ("webhook = { token = \"t\" }", true),
    ] {
        let text = format!(
            "[inputs]\nTRANSCRIPT = {{ required = true }}\n[[trigger]]\n{trigger}\n[[step]]\nnotify = {{ text = \"a\" }}\n"
        );
        assert_eq!(Workflow::read("test", &text).is_ok(), is_given, "{trigger}");
    }
}

#[test]
fn a_pattern_is_of_names() {
    let pattern = |text| Pattern(glob::Pattern::new(text).unwrap());
    for (text, name, expected) in [
        ("*.txt", "a.txt", true),
        ("*.txt", ".a.txt", false),
        (".*.txt", ".a.txt", true),
        ("*.txt", "a.TXT", false),
        ("memo-?.txt", "memo-1.txt", true),
        ("memo-?.txt", "memo-12.txt", false),
        ("*", "ä b", true),
    ] {
        assert_eq!(pattern(text).matches(name), expected, "{text} {name}");
    }
    assert!(Pattern::all().matches("a.txt") && !Pattern::all().matches(".DS_Store"));
}
