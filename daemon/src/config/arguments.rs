//! The command line of the program, made of the table of settings, and what it and the environment give.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use protocol::paths::{HOME_VARIABLE, SOCKET_VARIABLE};

use super::table::{SETTINGS, Setting, Settings};

/// Names another file.
pub const CONFIG_VARIABLE: &str = "TALKIE_CONFIG";

/// What is said of places: option, variable, and help. They say where the file is, so they are no settings.
const PLACES: [(&str, &str, &str, &str); 3] = [
    (
        "socket",
        SOCKET_VARIABLE,
        "PATH",
        "Socket to listen at [default: in the user's runtime directory, see `talkiectl status`]",
    ),
    (
        "home",
        HOME_VARIABLE,
        "DIR",
        "Folder of models and state [default: Talkie's folder in the user's data directory]",
    ),
    ("config", CONFIG_VARIABLE, "FILE", "File with settings [default: config.toml in the home]"),
];

/// What the program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Serve.
    Serve,
    /// Print the commented default file.
    Default,
    /// Print the schema of the file.
    Schema,
    /// Print the path of the file.
    Path,
    /// Write the commented default file where there is none.
    Init,
    /// Write it in the place of another.
    Replace,
    /// Say whether the configuration is right.
    Check,
    /// Print every setting and where its value is from.
    Show,
}

/// What the command line and the environment say; neither changes while the process lives.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// By the option's name. An option that may be repeated has its values joined.
    options: BTreeMap<&'static str, OsString>,
    /// By the variable's name; empty ones count as absent.
    variables: BTreeMap<&'static str, OsString>,
}

impl Given {
    /// Of some arguments, the program's name first, and an environment.
    pub fn parse(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, Task), clap::Error> {
        let matches = command().try_get_matches_from(arguments)?;
        let task = task(&matches);
        let matches = innermost(&matches);
        let mut given = Self::default();
        for (option, separator) in options() {
            let Some(values) = matches.get_many::<OsString>(option) else { continue };
            let values: Vec<&OsStr> = values.map(OsString::as_os_str).collect();
            given.options.insert(option, values.join(OsStr::new(separator)));
        }
        let variables = SETTINGS.iter().map(|setting| setting.variable).chain(PLACES.map(|place| place.1));
        let named = variables.filter_map(|name| Some((name, environment(name).filter(|value| !value.is_empty())?)));
        given.variables = named.collect();
        Ok((given, task))
    }

    /// What follows an option.
    pub fn option(&self, name: &str) -> Option<&OsStr> {
        self.options.get(name).map(OsString::as_os_str)
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }
}

/// Every option, with what joins its values.
fn options() -> impl Iterator<Item = (&'static str, &'static str)> {
    let settings = SETTINGS.iter().map(|setting| (setting.option, setting.field.separator().unwrap_or_default()));
    settings.chain(PLACES.map(|place| (place.0, "")))
}

fn task(matches: &ArgMatches) -> Task {
    let Some((_, matches)) = matches.subcommand() else { return Task::Serve };
    match matches.subcommand() {
        Some(("default", _)) => Task::Default,
        Some(("schema", _)) => Task::Schema,
        Some(("path", _)) => Task::Path,
        Some(("init", init)) if init.get_flag("force") => Task::Replace,
        Some(("init", _)) => Task::Init,
        Some(("check", _)) => Task::Check,
        _ => Task::Show,
    }
}

/// Options may stand anywhere; the last command's matches have all of them.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, matches)| innermost(matches))
}

fn command() -> Command {
    let task = |name: &'static str, about: &'static str| Command::new(name).about(about);
    let force = Arg::new("force").long("force").action(ArgAction::SetTrue).help("Replace the file that is there");
    let config = Command::new("config")
        .about("Tells of the configuration, and does not serve")
        .subcommand_required(true)
        .subcommand(task("default", "Print a file that says the defaults, all of it comments"))
        .subcommand(task("schema", "Print the JSON schema of the file, for editors"))
        .subcommand(task("path", "Print where the file is, or would be"))
        .subcommand(task("init", "Write that file where there is none").arg(force))
        .subcommand(task("check", "Say whether the configuration is right; ends with 78 where it is not"))
        .subcommand(task("show", "Print every setting and where its value is from, as JSON"));
    let place = |(option, variable, placeholder, help): (&'static str, &str, &'static str, &str)| {
        Arg::new(option)
            .long(option)
            .value_name(placeholder)
            .value_parser(OsStringValueParser::new())
            .global(true)
            .help(format!("{help} [env: {variable}]"))
    };
    Command::new("talkied")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keeps language models warm and lends them to every app of this user over one Unix socket")
        .args(PLACES.map(place))
        .args(SETTINGS.iter().map(argument))
        .subcommand(config)
}

fn argument(setting: &'static Setting) -> Arg {
    let default = match setting.example {
        Some(_) => String::new(),
        None => format!(" [default: {}]", bare(&setting.field.get(&Settings::default()))),
    };
    let several = setting.field.separator().map(|separator| format!("; several are separated by '{separator}'"));
    let help = format!("{}{}{default} [env: {}]", setting.doc, several.unwrap_or_default(), setting.variable);
    let argument = Arg::new(setting.option).long(setting.option).help(help).global(true);
    let argument = argument.value_parser(OsStringValueParser::new());
    let argument = if setting.field.separator().is_some() { argument.action(ArgAction::Append) } else { argument };
    if setting.placeholder.is_empty() {
        // The option alone says yes; no can be said, to what a variable or the file says.
        return argument.value_name("BOOL").num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    argument.value_name(setting.placeholder)
}

/// A value without the quotes of a text.
fn bare(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
