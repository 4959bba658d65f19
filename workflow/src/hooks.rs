//! The file of hooks, `hooks.toml`: programs and requests that follow what happens in the daemon.

use std::time::Duration;

use crate::MOST_FILE_BYTES;
use crate::check;
use crate::declare::table;
use crate::file::{ApiKey, EventKind, Hmac, Mapping, Time};
use crate::node::{self, At};
use crate::problem::{Problem, Problems, quote};

/// Most hooks of a file.
const MOST_HOOKS: usize = 100;

table! {
    /// A hook. It has exactly one of `command` and `webhook`.
    pub struct Hook {
        /// After which events.
        pub on: Vec<EventKind>,
        /// A program and its arguments; the settings must allow it. The event is on its standard input, as JSON, and in
        /// variables.
        pub command: Option<Vec<String>>,
        /// A request with the event as its body, as JSON.
        pub webhook: Option<HookWebhook>,
        /// How long it may take: seconds, or as "10s".
        pub timeout: Time = Time(Duration::from_mins(1)),
    }
}

table! {
    /// A request, `POST`.
    pub struct HookWebhook {
        /// Where to, `https://` or `http://`.
        pub url: String,
        /// Headers of the request.
        pub headers: Mapping<String> = Mapping::default(),
        /// The name of the secret that goes along as `Authorization: Bearer …`.
        pub bearer: Option<At<String>>,
        /// A secret that goes along in a header of its own.
        pub api_key: Option<ApiKey>,
        /// A secret that the body is signed with.
        pub hmac: Option<Hmac>,
    }
}

table! {
    /// The file.
    pub struct HookFile {
        /// Hooks.
        pub hooks: Vec<At<Hook>> as "hook" = Vec::new(),
    }
}

/// The hooks of a file; all that is wrong with it, by place.
pub fn read(text: &str) -> Result<Vec<Hook>, Vec<Problem>> {
    let mut problems = Problems::new(text);
    let file = node::read::<HookFile>(text, MOST_FILE_BYTES, &mut problems);
    if let Some(file) = &file {
        for hook in &file.hooks {
            check(hook, &mut problems);
        }
        if let Some(first) = file.hooks.get(MOST_HOOKS) {
            problems.add(first.at, format!("there are {} hooks, but {MOST_HOOKS} are the most", file.hooks.len()));
        }
    }
    problems.or(file.map(|file| file.hooks.into_iter().map(|hook| hook.value).collect()))
}

fn check(hook: &At<Hook>, problems: &mut Problems) {
    if hook.on.is_empty() {
        problems.add(hook.at, "this hook has no event in `on`; name one, as \"model_loaded\"");
    }
    if hook.command.is_some() == hook.webhook.is_some() {
        let words = "a hook has either `command` or `webhook`: command = [\"program\", \"argument\"], or webhook = { url = \"…\" }";
        problems.add(hook.at, words);
    }
    if hook.command.as_ref().is_some_and(|command| command.first().is_none_or(String::is_empty)) {
        problems.add(hook.at, "`command` names no program");
    }
    let Some(webhook) = &hook.webhook else { return };
    if !webhook.url.starts_with("https://") && !webhook.url.starts_with("http://") {
        problems
            .add(hook.at, format!("the `url` {} begins neither with https:// nor with http://", quote(&webhook.url)));
    }
    let keys = webhook.api_key.iter().map(|key| &key.secret).chain(webhook.hmac.iter().map(|hmac| &hmac.secret));
    for secret in webhook.bearer.iter().chain(keys) {
        check::secret(secret, problems);
    }
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
