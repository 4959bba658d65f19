//! `completions` and `man`: what a shell and a packager put beside the program. They ask no daemon.
//!
//! Both are made from what can be typed, so that neither can lag behind.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use clap_mangen::Man;
use serde::Serialize;

use super::Session;
use crate::cli::{self, Cli, Completions, Shell};
use crate::complete;
use crate::failure::Failure;

const NAME: &str = "talkiectl";

#[derive(Serialize)]
struct Script {
    shell: &'static str,
    script: String,
}

#[derive(Serialize)]
struct Pages {
    pages: Vec<Page>,
}

#[derive(Serialize)]
struct Page {
    command: String,
    /// Where it was written, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// The page itself, where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

pub fn completions(session: &Session, completions: &Completions) -> Result<(), Failure> {
    let shell: &dyn EnvCompleter = match completions.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    shell.write_registration(complete::VARIABLE, NAME, NAME, NAME, &mut script).map_err(Failure::Output)?;
    let script = String::from_utf8_lossy(&script).trim_start().to_owned();
    session.print(&Script { shell: shell.name(), script }, |script, _| script.script.clone())
}

pub fn man(session: &Session, man: cli::Man) -> Result<(), Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    if let Some(dir) = man.dir {
        write(&command, &dir, &mut pages).map_err(|error| Failure::Usage {
            message: format!("failed to write to {}: {error}", dir.display()),
            hint: "name a folder that is there and that you may write to",
        })?;
    } else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page).map_err(Failure::Output)?;
        let text = Some(String::from_utf8_lossy(&page).into_owned());
        pages.push(Page { command: NAME.into(), file: None, text });
    }
    session.print(&Pages { pages }, |pages, _| match &*pages.pages {
        [Page { text: Some(text), .. }] => text.clone(),
        pages => format!("{} pages\n", pages.len()),
    })
}

/// A page for the command, and for each below it that is shown.
fn write(command: &Command, dir: &Path, pages: &mut Vec<Page>) -> io::Result<()> {
    let file = Some(Man::new(command.clone()).generate_to(dir)?);
    pages.push(Page { command: command.get_bin_name().unwrap_or(NAME).to_owned(), file, text: None });
    command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|below| write(below, dir, pages))
}
