use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Scope;

/// One `[[step]]` that is fine.
const STEP: &str = "[[step]]\nnotify = { text = \"a\" }\n";

const EXAMPLES: [(&str, &str); 3] = [
    ("memo", include_str!("../examples/memo.toml")),
    ("table", include_str!("../examples/table.toml")),
    ("commit-message", include_str!("../examples/commit-message.toml")),
];

/// All problems of a text, one a line, as `line:column message`.
fn problems(text: &str) -> String {
    let problems = Workflow::read("test", text).err().unwrap_or_default();
    let each = problems.iter().map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.message));
    each.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(problems(text), expected, "{text}");
}

#[track_caller]
fn workflow(text: &str) -> Workflow {
    Workflow::read("test", text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

#[test]
fn examples_are_read() {
    for (name, text) in EXAMPLES {
        let read = Workflow::read(name, text).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        assert!(read.description.is_some() && !read.steps.is_empty(), "{name}");
    }
}

#[test]
fn the_table_of_the_examples_is_a_csv() {
    let (name, text) = EXAMPLES[1];
    let table = Workflow::read(name, text).unwrap();
    let Action::SaveFile(save_file) = &table.steps[1].action else { panic!("{table:?}") };
    let mut scope = Scope::default();
    scope.set("TITLE", &json!("letter 1"));
    scope.set("DIRECTORY", &json!("/home/a/Letters"));
    scope.set("row", &json!({ "sender": "Ann \"A\" B, C", "topic": "Rent" }));
    assert_eq!(save_file.path.render_text(&scope).unwrap(), "/home/a/Letters/table.csv");
    assert_eq!(save_file.text.render_text(&scope).unwrap(), "\"letter 1\",\"Ann \"\"A\"\" B, C\",\"Rent\"\n");
}

#[test]
fn names_of_files_are_plain() {
    for (name, expected) in
        [("memo", true), ("2-b_C", true), ("", false), ("a.b", false), ("../a", false), ("ä", false)]
    {
        assert_eq!(is_name(name), expected, "{name}");
    }
    assert!(is_name(&"a".repeat(64)) && !is_name(&"a".repeat(65)));
}

/// What stands between fences of a kind.
fn blocks<'t>(text: &'t str, fence: &str) -> Vec<&'t str> {
    let fence = format!("```{fence}\n");
    let parts = text.split(&fence).skip(1);
    parts.map(|part| part.split("```").next().unwrap()).collect()
}

#[test]
fn examples_of_the_reference_are_true() {
    let reference = include_str!("../README.md");
    let files = blocks(reference, "toml");
    assert!(files.len() >= 5, "{}", files.len());
    let (wrong, right): (Vec<&str>, Vec<&str>) = files.into_iter().partition(|text| text.starts_with("# wrong"));
    for text in right {
        workflow(text);
    }
    let told: Vec<String> = wrong.into_iter().map(|text| problems(text) + "\n").collect();
    assert_eq!(blocks(reference, "text"), told);
}

#[test]
fn every_key_is_in_the_reference() {
    let reference = include_str!("../README.md");
    let schema = schema();
    let tables = schema["definitions"].as_object().unwrap();
    let ours = tables.iter().filter(|(name, _)| *name != "GenerationOptions").map(|(_, table)| table);
    for table in ours.chain([&schema]) {
        for key in table["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
            let is_said = [format!("`{key}`"), format!("`{key} = ")].iter().any(|written| reference.contains(written));
            assert!(is_said, "{key}");
        }
    }
}

#[test]
fn every_key_is_read() {
    let workflow = workflow(include_str!("fixtures/everything.toml"));
    assert_eq!(workflow.triggers.len(), 5);
    let kinds: Vec<&str> = workflow.all_steps().iter().map(|step| step.action.kind()).collect();
    assert_eq!(
        kinds,
        [
            "llm",
            "shell",
            "shell",
            "webhook",
            "save_file",
            "transform",
            "transform",
            "conditional",
            "notify",
            "notify",
            "for_each",
            "transform",
            "workflow",
            "notify"
        ]
    );
    let idempotent: Vec<bool> = workflow.steps.iter().map(|step| step.idempotent).collect();
    assert_eq!(idempotent, [true, true, false, false, false, true, true, true, true, true, false]);
    let Action::Llm(llm) = &workflow.steps[0].action else { panic!("{:?}", workflow.steps[0]) };
    assert_eq!(llm.generation_options().max_tokens, 32);
    assert!(llm.generation_options().temperature.abs() < f32::EPSILON);
    let keys = llm.schema.as_ref().unwrap().0["properties"].as_object().unwrap().keys().collect::<Vec<_>>();
    assert_eq!(keys, ["z", "a"], "the order of the file is that of the answer");
}

#[test]
fn everything_that_is_wrong_is_found_at_once() {
    check(
        "nonsense = 1\n\n[[step]]\nname = \"a\"\nllm = { promt = \"x\" }\n\n[[step]]\n[step.llm]\nprompt = 3\nmodell = 'x'\n\n\
         [[step]]\non_error = { goto = \"b\" }\nnotify = { text = \"{{TITEL}}\" }\n",
        "1:1 there is no key `nonsense` here; there is `description`, `model`, `provider`, `tier`, `priority`, `inputs`, \
         `trigger` and `step`\n\
         5:9 there is no key `promt` here; did you mean `prompt`?\n\
         9:10 this must be a text, not 3\n\
         10:1 there is no key `modell` here; did you mean `model`?\n\
         13:21 there is no step `b` in this list of steps; there is `a`\n\
         14:22 `TITEL` is no input and no output of a step before; did you mean `TITLE`?",
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    check("a = ", "1:5 this is no TOML: string values must be quoted, expected literal string");
    assert!(
        problems("[[step]]\nname = \"a\nx = ]\n").starts_with("2:"),
        "{}",
        problems("[[step]]\nname = \"a\nx = ]\n")
    );
    check(&format!("{STEP}[step]\n"), "3:2 this is no TOML: duplicate key");
}

#[test]
fn places_are_true_in_every_way_of_writing() {
    for (text, expected) in [
        // Inline, on lines of its own, as a header, and nested in arrays of tables.
        ("[[step]]\nllm = { prompt = \"a\", tier = \"cheap\" }\n", "2:30"),
        ("[[step]]\nllm = {\n  prompt = \"a\",\n  tier = \"cheap\",\n}\n", "4:10"),
        ("[[step]]\n[step.llm]\nprompt = \"a\"\ntier = \"cheap\"\n", "4:8"),
        ("[[step]]\nllm.prompt = \"a\"\nllm.tier = \"cheap\"\n", "3:12"),
        ("step = [{ llm = { prompt = \"ä\", tier = \"cheap\" } }]\n", "1:40"),
        (
            "[[step]]\n[step.for_each]\nitems = \"[1]\"\n[[step.for_each.step]]\nllm = { prompt = \"a\" }\n\
             [[step.for_each.step]]\nllm = { prompt = \"a\", tier = \"cheap\" }\n",
            "7:30",
        ),
        (
            "[[step]]\n[step.conditional]\nif = \"true\"\n[[step.conditional.then]]\n[step.conditional.then.llm]\n\
             tier = \"cheap\"\nprompt = \"a\"\n",
            "6:8",
        ),
    ] {
        let words = "this must be \"budget\", \"balanced\" or \"capable\", not \"cheap\"";
        check(text, &format!("{expected} {words}"));
    }
}

#[test]
fn places_in_templates_are_true() {
    for (text, expected) in [
        ("[[step]]\nnotify = { text = \"a\\n{{ TITEL }}\" }\n", "2:26 `TITEL`"),
        ("[[step]]\nnotify = { text = \"\"\"\none\ntwo {{ TITEL }}\n\"\"\" }\n", "4:8 `TITEL`"),
        ("[[step]]\nnotify = { text = '''\none\n{% if TITLE %}\n''' }\n", "4:"),
        (
            "[[step]]\nnotify = { text = \"\"\"\n{{ TITLE | tojsn }}\"\"\" }\n",
            "3:12 there is no filter `tojsn`; did you mean",
        ),
        ("[[step]]\nwhen = \"TITLE is defind\"\nnotify = { text = \"a\" }\n", "2:18 there is no test `defind`"),
        ("[[step]]\nwhen = \"TITLE ==\"\nnotify = { text = \"a\" }\n", "2:"),
    ] {
        let problems = problems(text);
        assert!(problems.starts_with(expected) && !problems.contains('\n'), "{text}\n{problems}");
    }
}

#[test]
fn values_of_a_wrong_kind_are_refused_in_words() {
    for (line, words) in [
        ("description = 3", "1:15 this must be a text, not 3"),
        ("model = \"\"", "1:9 this must be the id of a model; `talkiectl models` lists them"),
        ("provider = \"My Server\"", "1:12 `My Server` can be no provider: its id is 1 to 32 lower-case letters"),
        (
            "tier = \"budgett\"",
            "1:8 this must be \"budget\", \"balanced\" or \"capable\", not \"budgett\"; did you mean \"budget\"?",
        ),
        ("priority = 1", "1:12 this must be \"background\", \"normal\" or \"interactive\", not 1"),
        ("tier = \"budget\"\nmodel = \"m\"", "1:1 `tier` stands instead of `model` and `provider`; leave one out"),
        ("inputs = 3", "1:10 this must be a table, not 3"),
        ("inputs.a = { required = \"yes\" }", "1:25 this must be true or false, not \"yes\""),
        ("inputs.a = { default = inf }", "1:24 inf is no number that JSON can hold"),
        ("inputs.a = { default = 99999999999999999999 }", "1:24 99999999999999999999 has more than 64 bits"),
        ("inputs.RUN = {}", "1:14 the input `RUN` has a name that every run has already; choose another"),
        ("inputs.\"a b\" = {}", "1:16 the input `a b` can be no name in templates: 1 to 64 letters, digits and _"),
        ("inputs.loop = {}", "1:15 the input `loop` has a name that means something else in templates"),
        ("inputs.a = { required = true, default = 1 }", "1:12 the input `a` is required and has a default"),
        ("trigger = {}", "1:11 this must be a list, not a table"),
    ] {
        let problems = problems(&format!("{line}\n{STEP}"));
        assert!(problems.starts_with(words) && !problems.contains('\n'), "{line}\n{problems}");
    }
}

#[test]
fn names_of_inputs_are_told() {
    let workflow =
        workflow(&format!("[inputs]\nlanguage = {{ required = true }}\nTITLE = {{ default = \"memo\" }}\n{STEP}"));
    assert_eq!(workflow.input_names(), ["TITLE", "language", "TRANSCRIPT", "FILE", "DIRECTORY"]);
    assert_eq!(workflow.inputs["TITLE"].default, Some(json!("memo")));
    assert_eq!(workflow.input_problems(["language", "TRANSCRIPT"].into_iter()), [] as [&str; 0]);
    assert_eq!(
        workflow.input_problems(["langage", "EVENT"].into_iter()),
        [
            "the workflow `test` must be given `language`: language=…",
            "the workflow `test` has no input `langage`; did you mean `language`?",
            "the workflow `test` has no input `EVENT`; there is `TITLE`, `language`, `TRANSCRIPT`, `FILE` and `DIRECTORY`",
        ]
    );
}

#[test]
fn a_file_is_bounded() {
    let long = format!("# {}\n{STEP}", "x".repeat(MOST_FILE_BYTES));
    check(&long, &format!("1:1 the file has {} bytes, but 262144 are the most", long.len()));
    assert_eq!(workflow(&STEP.repeat(200)).steps.len(), 200);
    check(&STEP.repeat(230), "401:1 a workflow has at most 200 steps; call another for the rest");
    let nested = |deep: usize| {
        let inner = "{ notify = { text = \"a\" } }".to_owned();
        let step =
            (1..deep).fold(inner, |inner, _| format!("{{ conditional = {{ if = \"true\", then = [{inner}] }} }}"));
        problems(&format!("step = [{step}]"))
    };
    assert_eq!(nested(8), "");
    assert!(
        nested(9).ends_with("steps lie at most 8 deep in each other; call another workflow instead"),
        "{}",
        nested(9)
    );
    assert!(nested(70).contains("this is no TOML: cannot recurse further"), "{}", nested(70));
}

#[test]
fn a_full_file_is_read_soon() {
    let began = std::time::Instant::now();
    let templates: String =
        (0..5000).fold(String::new(), |text, number| text + &format!("A{number} = \"{{{{x | tojsn}}}}\"\n"));
    let text = format!("[[step]]\n[step.shell]\ncommand = [\"a\"]\n[step.shell.environment]\n{templates}");
    assert!(text.len() > MOST_FILE_BYTES / 3 && text.len() < MOST_FILE_BYTES);
    assert_eq!(Workflow::read("test", &text).unwrap_err().len(), 100);
    let text = text.replace("x | tojsn", "TITLE | tojson");
    assert!(Workflow::read("test", &text).is_ok());
    assert!(began.elapsed() < std::time::Duration::from_mins(1), "{:?}", began.elapsed());
}

#[test]
fn many_problems_are_told_up_to_a_hundred() {
    let text = (0..300).map(|number| format!("key{number} = 1\n")).collect::<Vec<_>>().concat();
    let problems = Workflow::read("test", &format!("{text}{STEP}")).unwrap_err();
    assert_eq!(problems.len(), 100);
    assert_eq!(problems[99].message, "and 201 further problems");
}

#[test]
fn the_schema_allows_what_is_read_and_names_every_key() {
    let schema = schema();
    jsonschema::draft7::meta::validate(&schema).expect("it is a schema");
    let validator = jsonschema::draft7::new(&schema).expect("it can be used");
    let files = EXAMPLES.map(|(_, text)| text).into_iter().chain([include_str!("fixtures/everything.toml"), STEP]);
    for text in files {
        let value: Value = toml::from_str(text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, [] as [String; 0], "{text}");
    }
    for text in [
        "",
        "a = 1",
        "step = [{}]",
        "step = [{ llm = {} }]",
        "[[step]]\nllm = { prompt = \"a\" }\nnotify = { text = \"a\" }",
    ] {
        let value: Value = toml::from_str(text).unwrap();
        assert!(!validator.is_valid(&value) && Workflow::read("test", text).is_err(), "{text}");
    }
    let tables = schema["definitions"].as_object().unwrap();
    for (name, table) in tables.iter().chain([(&"the file".to_owned(), &schema)]) {
        for (key, of_key) in table["properties"].as_object().into_iter().flatten() {
            assert!(of_key["description"].as_str().is_some_and(|words| words.len() > 3), "{name}: {key}");
        }
    }
}

proptest! {
    #[test]
    fn reading_never_panics(text in "\\PC{0,200}") {
        let _ = Workflow::read("test", &text);
    }

    #[test]
    fn reading_what_looks_like_a_workflow_never_panics(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "[[step]]\n", "[step.llm]\n", "[[step.for_each.step]]\n", "[step.conditional]\n", "[[trigger]]\n", "[inputs]\n",
                "prompt = ", "when = ", "output_key = ", "items = ", "if = ", "then = ", "cron = ", "regex = ", "schema = ",
                "on_error = ", "timeout = ", "options = ", "name = ", "llm = ", "transform = ", "schedule = ", "folder = ",
                "{ ", " }", "[", "]", ", ", "\n", "\"", "\"{{ a }}\"", "\"{% for x in y %}\"", "\"\"\"", "3", "true", "'ä{{'", "-1",
                "\"* * * * *\"", "\"(\"", "{ retry = { times = 3 } }", "{ temperature = 9 }", "{ type = 3 }",
            ]),
            0..40,
        )
    ) {
        if let Err(problems) = Workflow::read("test", &pieces.concat()) {
            prop_assert!(problems.iter().all(|problem| problem.line > 0 && problem.column > 0 && !problem.message.is_empty()));
        }
    }
}
