//! `run`: a prompt from a file, with its variables put in, is asked as `generate` asks.
//!
//! [`prompt_file`] reads the file; options and variables of the command line go before its own.

mod prompt_file;

use std::path::Path;

use protocol::GenerateRequest;

use self::prompt_file::{INPUT, PromptFile};
use super::screen::{Screen, Shown};
use super::{Session, format, prompt, request, tools};
use crate::cli::Run;
use crate::failure::Failure;

pub async fn run(session: &Session, run: Run) -> Result<(), Failure> {
    let Run { file, variables, asked, tools, draws } = run;
    let mut progress = session.progress();
    let is_stdin = file == Path::new("-");
    let text = if is_stdin { prompt::wait_for_stdin(&mut progress).await? } else { format::text(&file)? };
    let read = PromptFile::read(&text, &file)?;
    let asked = asked.over(read.options.asked);
    let tools = tools.over(read.options.tools);
    let mut screen = Screen::new(session, Shown::of(&asked));
    let request = GenerateRequest {
        tool_choice: tools.choice(),
        tools: tools::read(tools.file.as_deref())?,
        ..request::of(asked, &draws)?
    };
    let input = if is_stdin { None } else { prompt::piped(&mut progress).await? };
    let template = read.template;
    let has_place = template.places().contains(INPUT);
    let (placed, behind) = if has_place { (input, None) } else { (None, input) };
    let filled = template.fill(read.defaults, variables, placed)?;
    // What is piped in is never ignored.
    let prompt = prompt::joined(&[filled, behind.unwrap_or_default()])?;
    request::ask(session, &GenerateRequest { prompt: Some(prompt), ..request }, &mut screen).await
}
