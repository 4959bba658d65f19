use std::collections::BTreeSet;

use proptest::prelude::*;
use protocol::RunState;
use serde_json::json;

use super::*;

/// A run under test: what was logged, and what was done for it.
struct Bench {
    course: Course,
    log: Vec<RunChange>,
    /// Places in the order in which they were begun.
    begun: Vec<String>,
}

fn program(texts: &[(&str, &str)]) -> Arc<Program> {
    let texts: Texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Arc::new(Program::read("main", &texts).unwrap_or_else(|(name, problems)| panic!("{name}: {problems:?}")))
}

fn given(inputs: Value) -> Given {
    let Value::Object(inputs) = inputs else { panic!("inputs are an object") };
    Given { inputs, event: None, time: "2026-11-30T07:00:00+00:00[UTC]".into() }
}

fn one(text: &str) -> Bench {
    Bench::new(&program(&[("main", text)]), given(json!({ "TRANSCRIPT": "x" })), Vec::new())
}

impl Bench {
    fn new(program: &Arc<Program>, given: Given, log: Vec<RunChange>) -> Self {
        let course = Course::new(Arc::clone(program), "run_1", given, &log).expect("the time can be read");
        Self { course, log, begun: Vec::new() }
    }

    /// Asks what comes next and logs it, as the runner does.
    fn next(&mut self) -> (Vec<Due>, Option<End>) {
        let Next { notes, due, end } = self.course.advance();
        self.log.extend(notes);
        for due in &due {
            let began = due.began();
            self.course.take(&began);
            self.log.push(began);
            self.begun.push(due.place.clone());
        }
        (due, end)
    }

    fn end_of(&mut self, due: &Due, outcome: Result<Value, &str>) {
        let place = due.place.clone();
        let change = match outcome {
            Ok(output) => RunChange::done(&place, output),
            Err(error) => RunChange::Failed { place, error: error.into(), attempt: due.attempt, duration_ms: 1 },
        };
        self.course.take(&change);
        self.log.push(change);
    }

    /// Has everything done by `act` until the run is at rest.
    fn whole(&mut self, mut act: impl FnMut(&Due) -> Result<Value, &'static str>) -> End {
        let mut at_work = std::collections::VecDeque::new();
        for _ in 0..10_000 {
            let (due, end) = self.next();
            if let Some(end) = end {
                assert!(at_work.is_empty() && due.is_empty(), "nothing goes on after the end");
                return end;
            }
            at_work.extend(due);
            let due = at_work.pop_front().expect("something is due until the end");
            if matches!(due.task, Task::Enter(_)) {
                continue;
            }
            let outcome = act(&due);
            self.end_of(&due, outcome);
        }
        panic!("it never ends")
    }

    fn skipped(&self) -> Vec<&str> {
        let skipped = |change: &'_ RunChange| matches!(change, RunChange::Skipped { .. });
        self.log.iter().filter(|change| skipped(change)).map(place_of).collect()
    }
}

fn place_of(change: &RunChange) -> &str {
    match change {
        RunChange::Began { place, .. }
        | RunChange::Done { place, .. }
        | RunChange::Failed { place, .. }
        | RunChange::Skipped { place, .. } => place,
        RunChange::State { .. } => "",
    }
}

/// Every action gives the text that it was told.
#[expect(clippy::unnecessary_wraps, reason = "others of its kind fail")]
fn echo(due: &Due) -> Result<Value, &'static str> {
    Ok(match &due.task {
        Task::Llm(llm) => json!(llm.request.prompt),
        Task::Shell(shell) => json!(shell.command.join(" ")),
        Task::Notify(_) => Value::Null,
        Task::SaveFile(file) => json!(file.path),
        Task::Webhook(webhook) => json!(webhook.url),
        Task::Enter(_) => unreachable!("nothing is to be done"),
    })
}

fn outputs(end: End) -> Value {
    match end {
        End::Finished { outputs, .. } => Value::Object(outputs),
        other => panic!("not finished: {other:?}"),
    }
}

fn why(end: End) -> String {
    match end {
        End::Failed(why) => why,
        other => panic!("not failed: {other:?}"),
    }
}

#[test]
fn steps_are_done_in_their_order_and_see_what_came_before() {
    let mut bench = one(r#"
        [[step]]
        output_key = "a"
        llm = { prompt = "one {{DATE}}" }
        [[step]]
        output_key = "b"
        llm = { prompt = "{{a}} two {{PREVIOUS_OUTPUT}}" }
        [[step]]
        output_key = "c"
        transform = { from = "b", split = " " }
    "#);
    let end = bench.whole(echo);
    assert!(matches!(end, End::Finished { .. }), "{end:?}");
    let a = "one 2026-11-30";
    let b = format!("{a} two {a}");
    assert_eq!(bench.begun, ["1", "2"]);
    assert_eq!(outputs(end), json!({ "a": a, "b": b, "c": b.split(' ').collect::<Vec<_>>() }));
}

#[test]
fn nothing_more_is_due_while_a_step_goes_on() {
    let mut bench = one("[[step]]\nllm = { prompt = \"x\" }\n[[step]]\nllm = { prompt = \"y\" }");
    let (due, _) = bench.next();
    assert_eq!(due.len(), 1);
    let (again, end) = bench.next();
    assert!(again.is_empty() && end.is_none());
}

#[test]
fn a_step_whose_when_is_not_true_is_passed_by() {
    let mut bench = one(r#"
        [[step]]
        when = "TRANSCRIPT | length > 3"
        llm = { prompt = "long" }
        [[step]]
        output_key = "b"
        llm = { prompt = "any" }
    "#);
    let end = bench.whole(echo);
    assert_eq!((bench.skipped(), outputs(end)), (vec!["1"], json!({ "b": "any" })));
}

#[test]
fn a_failed_step_is_tried_again_after_waits_that_double_and_then_given_up() {
    let mut bench = one(r#"
        [[step]]
        name = "call"
        on_error = { retry = { times = 3, wait = "2s", most_wait = "5s" } }
        webhook = { url = "https://example.org" }
    "#);
    let mut waits = Vec::new();
    let end = bench.whole(|due| {
        waits.push((due.attempt, due.after.as_secs()));
        Err("the server answered 500")
    });
    assert_eq!(waits, [(1, 0), (2, 2), (3, 4), (4, 5)]);
    assert_eq!(why(end), "`call`: the server answered 500");
}

#[test]
fn a_failed_step_may_be_passed_by_or_lead_elsewhere() {
    let mut bench = one(r#"
        [[step]]
        on_error = "skip"
        shell = { command = ["a"] }
        [[step]]
        on_error = { goto = "last" }
        shell = { command = ["b"] }
        [[step]]
        shell = { command = ["c"] }
        [[step]]
        name = "last"
        output_key = "last"
        shell = { command = ["d"] }
    "#);
    let end = bench.whole(|due| if due.place.as_str() < "3" { Err("no") } else { echo(due) });
    assert_eq!((&*bench.begun, outputs(end)), (&["1", "2", "4"].map(String::from)[..], json!({ "last": "d" })));
}

#[test]
fn a_way_back_gives_places_of_their_own() {
    let mut bench = one(r#"
        [[step]]
        name = "first"
        llm = { prompt = "x" }
        [[step]]
        on_error = { goto = "first" }
        shell = { command = ["b"] }
    "#);
    let mut left = 2;
    bench.whole(|due| {
        if due.name == "first" || left == 0 {
            return echo(due);
        }
        left -= 1;
        Err("not yet")
    });
    assert_eq!(bench.begun, ["1", "2", "1#2", "2#2", "1#3", "2#3"]);
}

#[test]
fn a_way_back_without_end_ends_at_a_thousand_steps() {
    let mut bench = one(r#"
        [[step]]
        name = "x"
        llm = { prompt = "x" }
        [[step]]
        on_error = { goto = "x" }
        shell = { command = ["b"] }
    "#);
    let end = bench.whole(|due| if due.name == "x" { echo(due) } else { Err("never") });
    assert!(why(end).contains("1000"));
    assert_eq!(bench.begun.len(), MOST_EXECUTIONS);
}

#[test]
fn a_conditional_goes_one_way_and_gives_its_last_output() {
    let text = r#"
        [[step]]
        output_key = "way"
        conditional = { if = "TITLE == 'a'", then = [ { output_key = "inner", llm = { prompt = "yes" } } ], else = [ { llm = { prompt = "no" } } ] }
    "#;
    let program = program(&[("main", text)]);
    for (title, place, expected) in
        [("a", "1.then.1", json!({ "way": "yes", "inner": "yes" })), ("b", "1.else.1", json!({ "way": "no" }))]
    {
        let mut bench = Bench::new(&program, given(json!({ "TITLE": title })), Vec::new());
        let end = bench.whole(echo);
        assert_eq!((&*bench.begun, outputs(end)), (&[place.to_owned()][..], expected));
    }
}

const EACH: &str = r#"
    [[step]]
    output_key = "list"
    transform = { from = "TRANSCRIPT", split = "," }
    [[step]]
    name = "each"
    output_key = "all"
    idempotent = true
    for_each = { items = "list", as = "item", parallel = 2, step = [
        { output_key = "inner", llm = { prompt = "{{item}}!" } },
        { idempotent = true, shell = { command = ["say", "{{inner}}"] } },
    ] }
"#;

#[test]
fn items_are_worked_on_so_many_at_once_and_keep_their_order() {
    let mut bench = Bench::new(&program(&[("main", EACH)]), given(json!({ "TRANSCRIPT": "a,b,c" })), Vec::new());
    let (due, _) = bench.next();
    assert_eq!(due.iter().map(|due| &*due.place).collect::<Vec<_>>(), ["2.1.1", "2.2.1"]);
    // The second is quicker.
    bench.end_of(&due[1], Ok(json!("b!")));
    let (second, _) = bench.next();
    bench.end_of(&second[0], echo(&second[0]));
    let (third, _) = bench.next();
    assert_eq!(third[0].place, "2.3.1");
    bench.end_of(&due[0], Ok(json!("a!")));
    bench.end_of(&third[0], Ok(json!("c!")));
    let end = bench.whole(echo);
    assert_eq!(outputs(end)["all"], json!(["say a!", "say b!", "say c!"]));
}

#[test]
fn where_an_item_fails_nothing_more_begins_and_what_goes_on_ends() {
    let mut bench = Bench::new(&program(&[("main", EACH)]), given(json!({ "TRANSCRIPT": "a,b,c" })), Vec::new());
    let (due, _) = bench.next();
    bench.end_of(&due[1], Err("broken"));
    let (more, end) = bench.next();
    assert!(more.is_empty() && end.is_none(), "the first still goes on: {more:?} {end:?}");
    bench.end_of(&due[0], Ok(json!("a!")));
    let (more, end) = bench.next();
    assert!(more.is_empty(), "{more:?}");
    assert_eq!(why(end.expect("it is over")), "`each`: `2.2.1`: broken");
    // What was done stays done, and only the rest is done when somebody has it go on.
    let mut log = bench.log;
    log.push(RunChange::State { state: RunState::Waiting, why: None });
    let mut again = Bench::new(&program(&[("main", EACH)]), given(json!({ "TRANSCRIPT": "a,b,c" })), log);
    let end = again.whole(echo);
    assert_eq!(
        again.begun.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(["2.1.2", "2.2.1", "2.2.2", "2.3.1", "2.3.2"])
    );
    assert_eq!(outputs(end)["all"], json!(["say a!", "say b!", "say c!"]));
}

#[test]
fn a_list_that_is_none_and_an_unknown_name_fail_without_another_try() {
    for (items, words) in [("TRANSCRIPT", "but a list is needed"), ("[1, 2][7]", "")] {
        let text = format!(
            "[[step]]\non_error = {{ retry = {{ times = 5, wait = \"1s\" }} }}\nfor_each = {{ items = \"{items}\", as = \"x\", step = [ {{ llm = {{ prompt = \"y\" }} }} ] }}"
        );
        let mut bench = one(&text);
        let end = bench.whole(echo);
        assert!(why(end).contains(words), "{items}");
        assert!(bench.begun.is_empty());
    }
}

#[test]
fn a_called_workflow_has_names_of_its_own_and_gives_its_outputs() {
    let main = r#"
        [[step]]
        output_key = "x"
        llm = { prompt = "of main" }
        [[step]]
        output_key = "other"
        workflow = { name = "other", inputs = { TRANSCRIPT = "{{x}}", many = "{{[1, 2]}}" } }
    "#;
    let other = r#"
        [inputs]
        many = { required = true }
        [[step]]
        output_key = "x"
        llm = { prompt = "{{TRANSCRIPT}} in {{WORKFLOW}} {{many | length}}" }
    "#;
    let program = program(&[("main", main), ("other", other)]);
    let mut bench = Bench::new(&program, given(json!({})), Vec::new());
    let end = bench.whole(echo);
    assert_eq!(bench.begun, ["1", "2.1"]);
    assert_eq!(outputs(end), json!({ "x": "of main", "other": { "x": "of main in other 2" } }));
}

#[test]
fn a_step_left_open_is_done_again_only_if_it_may_be() {
    let text = |idempotent| {
        format!(
            "[[step]]\nidempotent = {idempotent}\nshell = {{ command = [\"a\"] }}\n[[step]]\nllm = {{ prompt = \"b\" }}"
        )
    };
    for idempotent in [true, false] {
        let program = program(&[("main", &text(idempotent))]);
        let mut bench = Bench::new(&program, given(json!({})), Vec::new());
        bench.next();
        let mut again = Bench::new(&program, given(json!({})), bench.log.clone());
        let (due, end) = again.next();
        if idempotent {
            assert_eq!((due[0].place.as_str(), end), ("1", None));
            continue;
        }
        assert!(due.is_empty() && matches!(&end, Some(End::Interrupted(why)) if why.contains("`1`")), "{end:?}");
        assert!(again.course.resume(None).is_err_and(|words| words.contains("again")));
        for (open, begun) in [(OpenStep::Again, vec!["1", "2"]), (OpenStep::Skip, vec!["2"])] {
            let mut course = Bench::new(&program, given(json!({})), bench.log.clone());
            let mut log = bench.log.clone();
            log.extend(course.course.resume(Some(open)).expect("it goes on"));
            log.push(RunChange::State { state: RunState::Waiting, why: None });
            let mut resumed = Bench::new(&program, given(json!({})), log);
            outputs(resumed.whole(echo));
            assert_eq!(resumed.begun, begun, "{open:?}");
        }
    }
}

#[test]
fn a_failed_run_goes_on_at_what_failed_or_behind_it() {
    let program = program(&[(
        "main",
        "[[step]]\noutput_key = \"a\"\nllm = { prompt = \"a\" }\n[[step]]\nllm = { prompt = \"b\" }",
    )]);
    let mut bench = Bench::new(&program, given(json!({})), Vec::new());
    bench.whole(|due| if due.place == "2" { Err("no") } else { echo(due) });
    for (open, begun) in [(None, vec!["2"]), (Some(OpenStep::Skip), vec![])] {
        let mut log = bench.log.clone();
        log.extend(bench.course.resume(open).expect("it goes on"));
        log.push(RunChange::State { state: RunState::Waiting, why: None });
        let mut again = Bench::new(&program, given(json!({})), log);
        assert_eq!(outputs(again.whole(echo)), json!({ "a": "a" }));
        assert_eq!(again.begun, begun, "{open:?}");
    }
}

#[test]
fn a_plan_shows_what_is_known_and_leaves_the_rest_as_it_is_written() {
    let text = r#"
        [[step]]
        output_key = "a"
        llm = { prompt = "Of {{TITLE}}" }
        [[step]]
        webhook = { url = "https://example.org/{{TITLE}}", body = "{{a}}", bearer = "my-secret" }
        [[step]]
        for_each = { items = "a", as = "x", step = [ { shell = { command = ["echo", "{{x}}"] } } ] }
    "#;
    let steps = plan(&program(&[("main", text)]), "run_0", &given(json!({ "TITLE": "me" }))).expect("a plan");
    let told: Vec<(&str, &str)> = steps.iter().map(|step| (&*step.place, &*step.kind)).collect();
    assert_eq!(told, [("1", "llm"), ("2", "webhook"), ("3", "for_each"), ("3.*.1", "shell")]);
    assert_eq!(steps[0].parameters["prompt"], "Of me");
    assert_eq!(
        steps[1].parameters,
        json!({ "url": "https://example.org/me", "method": "POST", "body": "{{a}}", "bearer": "my-secret", "output": "text" })
    );
    assert_eq!(steps[3].parameters["command"], json!(["echo", "{{x}}"]));
}

/// Workflows of several kinds, each of whose steps may be done again.
fn workflows() -> [&'static [(&'static str, &'static str)]; 4] {
    const STRAIGHT: &str = "[[step]]\noutput_key = \"a\"\nllm = { prompt = \"a\" }\n[[step]]\noutput_key = \"b\"\non_error = { retry = { times = 2, wait = \"1s\", then = \"skip\" } }\nllm = { prompt = \"b\" }\n[[step]]\noutput_key = \"c\"\nllm = { prompt = \"c\" }";
    const FORK: &str = "[[step]]\noutput_key = \"a\"\nllm = { prompt = \"a\" }\n[[step]]\noutput_key = \"f\"\non_error = { retry = { times = 2, wait = \"1s\", then = \"skip\" } }\nconditional = { if = \"a == 'a'\", then = [ { output_key = \"x\", llm = { prompt = \"x\" } }, { llm = { prompt = \"y\" } } ] }";
    const BACK: &str = "[[step]]\nname = \"first\"\nwhen = \"TRANSCRIPT\"\nllm = { prompt = \"x\" }\n[[step]]\non_error = { goto = \"first\" }\nidempotent = true\nshell = { command = [\"b\"] }";
    const CALLS: &str =
        "[[step]]\noutput_key = \"o\"\nworkflow = { name = \"other\", inputs = { TRANSCRIPT = \"p,q,r\" } }";
    [&[("main", STRAIGHT)], &[("main", FORK)], &[("main", BACK)], &[("main", CALLS), ("other", EACH)]]
}

/// Which attempts at which places fail, the same each time.
fn fails(seed: u64, due: &Due) -> bool {
    let mixed = due.place.bytes().fold(seed ^ u64::from(due.attempt), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
    });
    mixed.is_multiple_of(4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn wherever_the_log_is_cut_the_run_comes_to_the_same_end(which in 0..4_usize, seed: u64, cut in 0.0..1.0_f64) {
        let program = program(workflows()[which]);
        let inputs = || given(json!({ "TRANSCRIPT": "t" }));
        let act = |due: &Due| if fails(seed, due) { Err("no") } else { echo(due) };
        let mut bench = Bench::new(&program, inputs(), Vec::new());
        let whole = bench.whole(act);
        let kept = bench.log[..(bench.log.len() as f64 * cut) as usize].to_vec();
        let done: BTreeSet<String> = kept
            .iter()
            .filter(|change| matches!(change, RunChange::Done { .. } | RunChange::Skipped { .. }))
            .map(|change| place_of(change).to_owned())
            .collect();
        let mut again = Bench::new(&program, inputs(), kept);
        prop_assert_eq!(again.whole(act), whole);
        prop_assert!(again.begun.iter().all(|place| !done.contains(place)), "{:?} of {:?}", again.begun, done);
    }
}
