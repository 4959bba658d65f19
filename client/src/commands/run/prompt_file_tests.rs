use clap::Parser;

use super::*;

/// Fills a file with what is given.
fn filled(text: &str, given: &[(&str, &str)], input: Option<&str>) -> Result<String, String> {
    let file = PromptFile::read(text, Path::new("/p/ask.md")).map_err(said)?;
    let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    file.template.fill(file.defaults, given, input.map(str::to_owned)).map_err(said)
}

fn said(failure: Failure) -> String {
    let Failure::Usage { message, .. } = failure else { panic!("{failure:?}") };
    message
}

#[test]
fn variables_come_from_the_command_line_the_file_and_the_pipe() {
    let text = "+++\n[variables]\ntone = \"kind\"\ncount = 3\n+++\nBe {{ tone }}, {{count}} times: {{input}}\n";
    assert_eq!(filled(text, &[], Some("x\n")).as_deref(), Ok("Be kind, 3 times: x"));
    assert_eq!(filled(text, &[("tone", "curt"), ("count", "4")], Some("x")).as_deref(), Ok("Be curt, 4 times: x"));
    assert_eq!(filled(text, &[("input", "here")], None).as_deref(), Ok("Be kind, 3 times: here"));
    assert_eq!(filled("<a> & {{x}}", &[("x", "<b>")], None).as_deref(), Ok("<a> & <b>"), "nothing is escaped");
}

#[test]
fn a_given_text_is_of_the_kind_of_its_default() {
    let text = "+++\nvariables = { loud = true }\n+++\n{% if loud %}LOUD{% else %}quiet{% endif %}";
    assert_eq!(filled(text, &[], None).as_deref(), Ok("LOUD"));
    assert_eq!(filled(text, &[("loud", "false")], None).as_deref(), Ok("quiet"));
    assert_eq!(filled(text, &[("loud", "no")], None), Err("loud=no: /p/ask.md has true or false there".into()));
}

#[test]
fn what_is_missing_or_unknown_is_named_with_its_line() {
    let head = "+++\ntemperature = 0\n+++\n";
    for (text, given, expected) in [
        ("a\n{{ tone }} b", &[][..], "/p/ask.md, line 2: tone has no value"),
        (&format!("{head}a\n\n{{{{ input }}}}"), &[], "/p/ask.md, line 6: input has no value"),
        ("{{ tone }}", &[("tome", "x")], "tome stands nowhere in /p/ask.md: did you mean tone?"),
        ("{{ a }}{{ b }}", &[("xyz", "x")], "xyz stands nowhere in /p/ask.md: it has a, b"),
        ("plain", &[("xyz", "x")], "xyz stands nowhere in /p/ask.md: it has no variables"),
    ] {
        assert_eq!(filled(text, given, None), Err(expected.into()), "{text}");
    }
    let broken = filled(&format!("{head}{{{{ a"), &[], None).expect_err("no end");
    assert!(broken.starts_with("/p/ask.md, line 4: "), "{broken}");
    let unknown = filled("{{ a|shout }}", &[("a", "x")], None).expect_err("no such filter");
    assert!(unknown.starts_with("/p/ask.md, line 1: ") && unknown.contains("shout"), "{unknown}");
}

#[test]
fn a_loop_without_end_ends() {
    let error = filled("{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}", &[], None);
    assert!(error.expect_err("too long").contains("line 1"));
}

#[test]
fn options_are_those_of_generate_and_mistakes_have_their_line() {
    for (head, expected) in [
        ("temprature = 1", "/p/ask.md, line 2: there is no option temprature; did you mean temperature?"),
        ("\nmax_tokens = \"many\"", "/p/ask.md, line 3: invalid value 'many' for '--max-tokens <N>'"),
        ("model = ", "/p/ask.md, line 2: "),
        ("[variables]\na = 1\n[model]\nb = 1", "/p/ask.md, line 4: model takes a text, a number or true"),
        ("tool_choice = \"auto\"", "/p/ask.md, line 2: the following required arguments were not provided: --tools"),
        ("variables = 1", "/p/ask.md, line 2: variables are a table"),
    ] {
        let error = filled(&format!("+++\n{head}\n+++\nx"), &[], None).expect_err(head);
        assert!(error.starts_with(expected), "{error}");
    }
    let open = filled("+++\nmodel = 1\n", &[], None).expect_err("no end");
    assert_eq!(open, "/p/ask.md, line 1: the options that begin with +++ have no +++ at their end");
}

#[test]
fn options_of_the_command_line_go_before_those_of_the_file() {
    let text =
        "+++\nmodel = \"org/x\"\ntemperature = 0.2\nmax_tokens = 7\nstop = [\"a\", \"b\"]\ntools = \"t.json\"\n+++\nx";
    let file = PromptFile::read(text, Path::new("/p/ask.md")).map_err(said).expect("a prompt");
    assert_eq!(file.options.tools.file.as_deref(), Some(Path::new("/p/t.json")), "it lies beside the prompt");
    let typed = Options::try_parse_from(["--temperature", "0.5", "--system", "s"]).expect("options");
    let asked = typed.asked.over(file.options.asked);
    let options = asked.options(&crate::cli::Draws::default());
    assert_eq!((options.temperature, options.max_tokens), (0.5, 7));
    assert_eq!((&*options.stop_sequences, asked.model.as_deref()), (&["a".to_owned(), "b".into()][..], Some("org/x")));
    assert_eq!(options.system_prompt.as_deref(), Some("s"));
}
