use crate::Workflow;

/// The problems of these steps, one a line, each with its line.
#[track_caller]
fn check(steps: &str, expected: &str) {
    let text = format!("inputs.language = {{}}\n{steps}\n");
    let problems = Workflow::read("me", &text).err().unwrap_or_default();
    let told: Vec<String> = problems.iter().map(|problem| format!("{} {}", problem.line, problem.message)).collect();
    assert_eq!(told.join("\n"), expected, "{text}");
}

const LLM: &str = "llm = { prompt = \"a\" }";

#[test]
fn a_step_does_exactly_one_thing() {
    check("[[step]]\nllm = { prompt = \"a\" }", "");
    check(
        "[[step]]\nname = \"a\"",
        "2 this step does nothing; it needs one of `llm`, `shell`, `webhook`, `save_file`, `transform`, `conditional`, \
         `for_each`, `workflow` and `notify`",
    );
    check(
        "[[step]]\nllm = { prompt = \"a\" }\nshell = { command = [\"a\"] }",
        "2 a step does one thing, but this has `llm` and `shell`; make a step of each",
    );
    check("step = []", "1 a workflow does at least one [[step]]");
}

#[test]
fn names_are_said_once() {
    check(
        &format!("[[step]]\nname = \"a\"\n{LLM}\n[[step]]\nname = \"a\"\n{LLM}"),
        "6 another step has the name `a`, on line 3; choose another",
    );
    check(
        &format!("[[step]]\noutput_key = \"a\"\n{LLM}\n[[step]]\noutput_key = \"a\"\n{LLM}"),
        "6 the output `a` hides that of the same name on line 3; choose another",
    );
    check(
        &format!("[[step]]\noutput_key = \"TITLE\"\n{LLM}"),
        "3 the output `TITLE` hides what every run has by that name; choose another",
    );
    check(
        &format!("[[step]]\noutput_key = \"language\"\n{LLM}"),
        "3 the output `language` hides the input of that name; choose another",
    );
    check(
        &format!("[[step]]\noutput_key = \"a-b\"\n{LLM}"),
        "3 the output `a-b` can be no name in templates: 1 to 64 letters, digits and _, a letter first",
    );
    check(
        &format!("[[step]]\noutput_key = \"range\"\n{LLM}"),
        "3 the output `range` has a name that means something else in templates; choose another",
    );
    check(
        &format!("[[step]]\nname = \"1\"\n{LLM}"),
        "3 the step `1` can be no name: 1 to 64 letters, digits, - and _, a letter first",
    );
    // The two ways of a conditional may bring the same; its steps and others may not.
    let ways = "[[step]]\nconditional = { if = \"true\", then = [{ output_key = \"a\", llm = { prompt = \"a\" } }], \
                else = [{ output_key = \"a\", llm = { prompt = \"a\" } }] }\n";
    check(ways, "");
    check(
        &format!("{ways}[[step]]\noutput_key = \"a\"\n{LLM}"),
        "5 the output `a` hides that of the same name on line 3; choose another",
    );
    check(
        "[[step]]\nfor_each = { items = \"[1]\", as = \"language\", step = [{ output_key = \"item\", llm = { prompt = \"a\" } }] }",
        "3 the item `language` hides the input of that name; choose another",
    );
    check(
        "[[step]]\nfor_each = { items = \"[1]\", step = [{ output_key = \"item\", llm = { prompt = \"a\" } }] }",
        "3 the output `item` hides that of the same name on line 1; choose another",
    );
}

#[test]
fn names_have_a_value_by_then() {
    check("[[step]]\nnotify = { text = \"{{TITLE}} {{language}} {{FILE}} {{RUN}}\" }", "");
    check(
        "[[step]]\nnotify = { text = \"{{langage}}\" }",
        "3 `langage` is no input and no output of a step before; did you mean `language`?",
    );
    check(
        &format!("[[step]]\nnotify = {{ text = \"{{{{a}}}}\" }}\n[[step]]\noutput_key = \"a\"\n{LLM}"),
        "3 `a` has no value here: the step that gives it, on line 5, comes later or lies inside another",
    );
    check(
        "[[step]]\nnotify = { text = \"{{PREVIOUS_OUTPUT}}\" }",
        "3 `PREVIOUS_OUTPUT` has no value here: no step comes before this",
    );
    check("[[step]]\ntransform = { json = true }", "2 no step comes before this, so it must say `from` what");
    check(
        "[[step]]\nnotify = { text = \"{{EVENT.type}}\" }",
        "3 `EVENT` has a value only in a workflow with an event trigger",
    );
    check("[[trigger]]\nevent = { on = [\"model_loaded\"] }\n[[step]]\nnotify = { text = \"{{EVENT.type}}\" }", "");
    // What may be skipped may have a value.
    check(
        &format!(
            "[[step]]\noutput_key = \"a\"\nwhen = \"TITLE\"\non_error = \"skip\"\n{LLM}\n[[step]]\nnotify = {{ text = \"{{{{a}}}}\" }}"
        ),
        "",
    );
    let way = "[[step]]\nconditional = { if = \"TITLE\", then = [{ output_key = \"a\", llm = { prompt = \"a\" } }]";
    check(&format!("{way} }}\n[[step]]\nnotify = {{ text = \"{{{{a}}}}\" }}"), "");
    check(
        &format!("{way}, else = [{{ notify = {{ text = \"{{{{a}}}}\" }} }}] }}"),
        "3 `a` has no value here: the step that gives it, on line 3, comes later or lies inside another",
    );
    // Inside for_each is its own.
    check(
        "[[step]]\nfor_each = { items = \"[1]\", as = \"one\", step = [{ output_key = \"b\", llm = { prompt = \"{{one}}\" } }] }\n\
         [[step]]\nnotify = { text = \"{{one}} {{b}} {{PREVIOUS_OUTPUT}}\" }",
        "5 `one` is no input and no output of a step before\n\
         5 `b` has no value here: the step that gives it, on line 3, comes later or lies inside another",
    );
    // A step that cannot be read still brings its names.
    check(
        "[[step]]\nname = \"x\"\noutput_key = \"a\"\nllm = {}\n[[step]]\non_error = { goto = \"x\" }\nnotify = { text = \"{{a}}\" }",
        "5 `prompt` is missing here",
    );
}

#[test]
fn goto_leads_somewhere() {
    check(
        &format!("[[step]]\nname = \"a\"\non_error = {{ goto = \"a\" }}\n{LLM}"),
        "4 `a` goes to itself; { retry = { times = 3 } } tries it again",
    );
    check(
        &format!(
            "[[step]]\nname = \"last\"\n{LLM}\n[[step]]\nconditional = {{ if = \"true\", then = [{{ on_error = {{ goto = \"last\" }}, {LLM} }}] }}"
        ),
        "6 there is no step `last` in this list of steps; none of them has a name",
    );
}

#[test]
fn options_of_models_are_checked() {
    let llm = |more: &str, expected: &str| check(&format!("[[step]]\n[step.llm]\nprompt = \"a\"\n{more}"), expected);
    llm("options = { temprature = 0 }", "5 there is no option `temprature`; did you mean `temperature`?");
    llm(
        "options = { temperature = 9, top_p = \"x\" }",
        "5 options.temperature is 9, but must lie in 0 to 5\n5 options.top_p: invalid type: string \"x\", expected f32",
    );
    llm("options = { n = 2 }", "2 `options.n` asks for several answers, but a step has one output; use for_each");
    llm("options = { logprobs = 2 }", "2 `options.logprobs` has no effect here: an output is the answer alone");
    llm("options = { system_prompt = \"x\" }", "2 `options.system_prompt` is no template; say it as `system_prompt`");
    llm(
        "max_tokens = 3\noptions = { max_tokens = 4 }",
        "2 `max_tokens` and `options.max_tokens` say the same; leave one out",
    );
    llm("max_tokens = 0", "2 max_tokens is 0, but must be at least 1");
    llm("max_tokens = -1", "5 this must be a whole number, not -1");
    llm("tier = \"budget\"\nmodel = \"m\"", "2 `tier` stands instead of `model` and `provider`; leave one out");
    llm(
        "schema = { type = 3 }",
        "5 this is no JSON Schema: 3 is not valid under any of the schemas listed in the 'anyOf' keyword",
    );
    llm(
        "schema = { \"$ref\" = \"https://example.com/a\" }",
        "5 this JSON Schema cannot be used: Resource 'https://example.com/a' is not present in a registry and retrieving it failed: `resolve-http` feature or a custom resolver is required to resolve external schemas via HTTP",
    );
    llm("schema = \"x\"", "5 this must be a table: a JSON Schema, not \"x\"");
    llm(
        "schema = {}\noptions = { stop_sequences = [\"a\"] }",
        "2 `schema` and `options.stop_sequences` cannot both be held; leave one out",
    );
}

#[test]
fn actions_are_checked() {
    check("[[step]]\nshell = {}", "2 a shell step needs a `command`, as [\"wc\", \"-w\"], or a `script`");
    check("[[step]]\nshell = { command = [] }", "2 `command` names no program");
    check("[[step]]\nshell = { command = \"wc -w\" }", "3 this must be a list, not \"wc -w\"");
    check(
        "[[step]]\nshell = { command = [\"a\"], script = \"a\" }",
        "2 a shell step has `command` or `script`, not both",
    );
    check(
        "[[step]]\nshell = { command = [\"a\"], environment = { \"A=\" = \"b\" } }",
        "2 `A=` can be no variable of an environment",
    );
    check(
        "[[step]]\nshell = { command = [\"a\"], environment = { A = \"b\" }, secrets = { A = \"b\" } }",
        "2 the variable `A` is in `environment` and in `secrets`; leave one out",
    );
    check(
        "[[step]]\nshell = { command = [\"a\"], secrets = { A = \"../b\" } }",
        "3 the secret `../b` can be no name: 1 to 64 letters, digits, - and _, a letter first",
    );
    check(
        "[[step]]\nshell = { command = [\"a\"], directory = \"b\" }",
        "3 the directory `b` must be absolute, or from ~/ on; {{DIRECTORY}}/… is beside the file that began",
    );
    check(
        "[[step]]\nwebhook = { url = \"example.com\" }",
        "3 the url `example.com` must begin with https:// or http://",
    );
    check("[[step]]\nwebhook = { url = \"https://a\", headers = { \"a b\" = \"c\" } }", "3 `a b` can be no header");
    check(
        "[[step]]\nwebhook = { url = \"https://a\", headers = { Authorization = \"c\" }, bearer = \"b\" }",
        "3 the header `authorization` is set twice; leave one out",
    );
    check(
        "[[step]]\nwebhook = { url = \"https://a\", method = \"SEND\" }",
        "3 this must be \"GET\", \"POST\", \"PUT\", \"PATCH\" or \"DELETE\", not \"SEND\"",
    );
    check(
        "[[step]]\nsave_file = { path = \"a.txt\", text = \"b\" }",
        "3 the path `a.txt` must be absolute, or from ~/ on; {{DIRECTORY}}/… is beside the file that began",
    );
    check(
        "[[step]]\nsave_file = { path = \"{{DIRECTORY}}/a\", text = \"b\", exists = \"overwrite\" }",
        "3 this must be \"replace\", \"fail\", \"number\" or \"append\", not \"overwrite\"",
    );
    check("[[step]]\nconditional = { if = \"true\", then = [] }", "2 this conditional has no step in `then`");
    check("[[step]]\nconditional = { then = [] }", "3 `if` is missing here");
    check("[[step]]\nfor_each = { items = \"[1]\", step = [] }", "2 this for_each has no step in `step`");
    check("[[step]]\nfor_each = { items = \"{{a}}\", step = [] }", "3 an expression stands here without {{ and }}");
    check(
        "[[step]]\nfor_each = { items = \"[1]\", parallel = 17, step = [{ notify = { text = \"a\" } }] }",
        "3 this must be a whole number from 1 to 16, not 17",
    );
    check("[[step]]\nworkflow = { name = \"me\" }", "3 this never ends: `me` calls itself");
    check(
        "[[step]]\nworkflow = { name = \"../me\" }",
        "3 `../me` can be no workflow: its name is 1 to 64 letters, digits, - and _",
    );
    check(
        "[[step]]\ntimeout = 0\nnotify = { text = \"a\" }",
        "3 this must be seconds, or a time such as \"10s\" or \"5m\", above 0 and up to a year, not 0",
    );
    check(
        "[[step]]\ntimeout = []\nnotify = { text = \"a\" }",
        "3 this must be seconds, or a time such as \"10s\" or \"5m\", above 0 and up to a year, not a list",
    );
}

#[test]
fn transforms_are_checked() {
    let transform =
        |more: &str, expected: &str| check(&format!("[[step]]\ntransform = {{ from = \"TITLE\"{more} }}"), expected);
    transform("", "2 this transform changes nothing; it needs one of `pointer`, `regex`, `split`, `join` and `json`");
    transform(
        ", split = \",\", join = \",\"",
        "2 a transform does one thing, but this has `split` and `join`; make a step of each",
    );
    transform(", split = \"\"", "3 `split` needs a text to split at");
    transform(", pointer = \"a\"", "3 a JSON pointer begins with a slash: \"/a\"");
    transform(", pointer = \"/~2\"", "3 in a JSON pointer ~0 stands for ~ and ~1 for a slash; ~ alone is nothing");
    transform(", regex = \"(\"", "3 this regular expression is none: unclosed group");
    transform(
        ", regex = \"(?=a)\"",
        "3 this regular expression is none: look-around, including look-ahead and look-behind, is not supported",
    );
    transform(", regex = \"(a{1000}){1000}\"", "3 this regular expression is none: it is too big");
    transform(", regex = \"(a)\", group = 2", "2 `regex` has no such `group`; its groups are 0 to 1");
    transform(
        ", regex = \"(?<x>a)\", group = \"y\"",
        "2 `regex` has no such `group`; its groups are 0 to 1, named `x`",
    );
    transform(", regex = \"a\", group = true", "3 this must be the number or the name of a group, not true");
    transform(", split = \",\", group = 1", "2 `group` is one of `regex`, which is not there");
    transform(", split = \",\", all = true", "2 `all` is of `regex`, which is not there");
}
