//! What each kind of step does not allow together, and what it needs.

use protocol::{ModelId, ProviderId, Tier};

use super::secret;
use crate::file::{Action, Llm, Shell, Step, Transform, Webhook, Workflow, is_name};
use crate::node::At;
use crate::problem::{Problems, listed, quote};
use crate::template::Template;

/// Adds what is wrong with what a step does.
pub fn of_step(workflow: &Workflow, step: &Step, problems: &mut Problems) {
    let at = step.at;
    match &step.action {
        Action::Llm(llm) => self::llm(llm, at, problems),
        Action::Shell(shell) => self::shell(shell, at, problems),
        Action::Webhook(webhook) => self::webhook(webhook, problems),
        Action::SaveFile(save_file) => absolute(&save_file.path, "the path", problems),
        Action::Transform(transform) => self::transform(transform, at, problems),
        Action::Conditional(conditional) => {
            if conditional.then.is_empty() && conditional.otherwise.is_empty() {
                problems.add_lack(at, "this conditional has no step in `then`");
            }
        }
        Action::ForEach(for_each) => {
            if for_each.steps.is_empty() {
                problems.add_lack(at, "this for_each has no step in `step`");
            }
        }
        Action::Workflow(call) => {
            if !is_name(&call.name) {
                let words = "can be no workflow: its name is 1 to 64 letters, digits, - and _";
                problems.add(call.name.at, format!("`{}` {words}", quote(&call.name)));
            }
            if call.name.value == workflow.name {
                problems.add(call.name.at, format!("this never ends: `{}` calls itself", call.name));
            }
        }
        Action::Notify(_) => {}
    }
}

/// `tier` says what `model` and `provider` say.
pub fn tier(
    tier: Option<Tier>,
    model: Option<&ModelId>,
    provider: Option<&ProviderId>,
    at: usize,
    problems: &mut Problems,
) {
    if tier.is_some() && (model.is_some() || provider.is_some()) {
        problems.add(at, "`tier` stands instead of `model` and `provider`; leave one out");
    }
}

fn llm(llm: &Llm, at: usize, problems: &mut Problems) {
    tier(llm.tier, llm.model.as_ref(), llm.provider.as_ref(), at, problems);
    let usual = protocol::GenerationOptions::default();
    let options = &llm.options;
    let refusals = [
        (llm.max_tokens == Some(0), "max_tokens is 0, but must be at least 1"),
        (
            llm.max_tokens.is_some() && options.max_tokens != usual.max_tokens,
            "`max_tokens` and `options.max_tokens` say the same; leave one out",
        ),
        (options.system_prompt.is_some(), "`options.system_prompt` is no template; say it as `system_prompt`"),
        (options.n > 1, "`options.n` asks for several answers, but a step has one output; use for_each"),
        (options.logprobs.is_some(), "`options.logprobs` has no effect here: an output is the answer alone"),
        (
            llm.schema.is_some() && !options.stop_sequences.is_empty(),
            "`schema` and `options.stop_sequences` cannot both be held; leave one out",
        ),
    ];
    for (_, words) in refusals.iter().filter(|(is_wrong, _)| *is_wrong) {
        problems.add(at, *words);
    }
}

fn shell(shell: &Shell, at: usize, problems: &mut Problems) {
    match (&shell.command, &shell.script) {
        (Some(command), None) if command.is_empty() => problems.add_lack(at, "`command` names no program"),
        (Some(_), Some(_)) => problems.add(at, "a shell step has `command` or `script`, not both"),
        (None, None) => problems.add_lack(at, "a shell step needs a `command`, as [\"wc\", \"-w\"], or a `script`"),
        _ => {}
    }
    for name in shell.environment.keys().chain(shell.secrets.keys()) {
        if name.is_empty() || name.contains(['=', '\0']) {
            problems.add(at, format!("`{}` can be no variable of an environment", quote(name)));
        }
    }
    for name in shell.secrets.keys().filter(|name| shell.environment.contains_key(*name)) {
        problems.add(at, format!("the variable `{name}` is in `environment` and in `secrets`; leave one out"));
    }
    for name in shell.secrets.values() {
        secret(name, problems);
    }
    if let Some(directory) = &shell.directory {
        absolute(directory, "the directory", problems);
    }
}

fn webhook(webhook: &Webhook, problems: &mut Problems) {
    let url = webhook.url.source().trim_start();
    if !url.starts_with("https://") && !url.starts_with("http://") && !begins_with_place(url) {
        problems.add(webhook.url.at, format!("the url `{}` must begin with https:// or http://", quote(url)));
    }
    let secrets = webhook.bearer.iter().chain(webhook.api_key.iter().map(|key| &key.secret));
    for name in secrets.chain(webhook.hmac.iter().map(|hmac| &hmac.secret)) {
        secret(name, problems);
    }
    let named: Vec<(&str, usize)> = [
        webhook.bearer.as_ref().map(|bearer| ("authorization", bearer.at)),
        webhook.api_key.as_ref().map(|key| (key.header.as_str(), key.header.at)),
        webhook.hmac.as_ref().map(|hmac| (hmac.header.as_str(), hmac.header.at)),
    ]
    .into_iter()
    .flatten()
    .collect();
    for header in webhook.headers.keys() {
        header_name(header, webhook.url.at, problems);
    }
    for (index, (header, at)) in named.iter().enumerate() {
        header_name(header, *at, problems);
        let others = webhook.headers.keys().map(String::as_str).chain(named[..index].iter().map(|(name, _)| *name));
        if others.into_iter().any(|other| other.eq_ignore_ascii_case(header)) {
            problems.add(*at, format!("the header `{}` is set twice; leave one out", quote(header)));
        }
    }
}

/// A token of HTTP.
fn header_name(name: &str, at: usize, problems: &mut Problems) {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_of_name) {
        problems.add(at, format!("`{}` can be no header", quote(name)));
    }
}

fn absolute(path: &Template, what: &str, problems: &mut Problems) {
    let source = path.source();
    if !source.starts_with('/') && !source.starts_with("~/") && !begins_with_place(source) {
        let words = format!(
            "{what} `{}` must be absolute, or from ~/ on; {{{{DIRECTORY}}}}/… is beside the file that began",
            quote(source)
        );
        problems.add(path.at, words);
    }
}

/// Whether only a run shows how a template begins.
fn begins_with_place(source: &str) -> bool {
    source.starts_with("{{") || source.starts_with("{%") || source.starts_with("{#")
}

fn transform(transform: &Transform, at: usize, problems: &mut Problems) {
    let given = [
        ("pointer", transform.pointer.is_some()),
        ("regex", transform.regex.is_some()),
        ("split", transform.split.is_some()),
        ("join", transform.join.is_some()),
        ("json", transform.json),
    ];
    let names: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    match &*names {
        [] => problems.add_lack(
            at,
            "this transform changes nothing; it needs one of `pointer`, `regex`, `split`, `join` and `json`",
        ),
        [_] => {}
        several => problems
            .add(at, format!("a transform does one thing, but this has {}; make a step of each", listed(several))),
    }
    if transform.split.as_ref().is_some_and(|split| split.is_empty()) {
        problems.add(
            transform.split.as_ref().map_or(at, |split: &At<String>| split.at),
            "`split` needs a text to split at",
        );
    }
    match (&transform.regex, &transform.group) {
        (None, Some(_)) => problems.add_lack(at, "`group` is one of `regex`, which is not there"),
        (Some(regex), Some(group)) if !group.is_in(&regex.0) => {
            let most = regex.0.captures_len() - 1;
            let groups: Vec<&str> = regex.0.capture_names().flatten().collect();
            let groups = if groups.is_empty() { String::new() } else { format!(", named {}", listed(&groups)) };
            problems.add(at, format!("`regex` has no such `group`; its groups are 0 to {most}{groups}"));
        }
        (None, None) if transform.all => problems.add_lack(at, "`all` is of `regex`, which is not there"),
        _ => {}
    }
}
