//! `chat`: turns are typed, answers come back, and the whole conversation goes out each time.
//!
//! What is typed comes from [`input`], on a thread of its own; [`orders`] says what `/words` mean, [`conversation`] keeps
//! what was said. Ctrl-C at a terminal is this module's: it drops what is under way, which cancels it at the daemon.

mod conversation;
mod input;
mod orders;

use std::io::Write;
use std::path::Path;

use protocol::rpc::{GenerateClient, ModelsClient, ProvidersClient};
use protocol::{GenerateEvent, GenerateRequest, Kind, Message, ModelId, ModelRef, Role};
use talkiectl::{Client, Error};
use tokio::signal::unix::{SignalKind, signal};

use self::conversation::Conversation;
use self::input::{Input, Typed};
use self::orders::Order;
use super::screen::{Screen, Shown};
use super::suggest::advised;
use super::{Session, request};
use crate::cli::{self, Draws, Form};
use crate::failure::Failure;
use crate::render;

pub use input::is_interactive;

/// A conversation that goes on.
struct Chat<'a> {
    session: &'a Session,
    /// How to ask; without model, system prompt and messages, which the conversation has.
    request: GenerateRequest,
    shown: Shown,
    screen: Screen,
    conversation: Conversation,
    /// What has come of the answer under way.
    answer: Option<String>,
    /// Made when it is needed, and again when it was lost.
    client: Option<Client>,
}

/// Whether there is a next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Turn,
    End,
}

pub async fn chat(session: &Session, chat: cli::Chat) -> Result<(), Failure> {
    let cli::Chat { file, no_history, plain, asked } = chat;
    let shown = if plain { Shown::of(&asked) } else { Shown::of(&asked).with_markdown() };
    let mut request = request::of(asked, &Draws::default())?;
    let mut conversation = file.as_deref().map(Conversation::load).transpose()?.unwrap_or_default();
    // What was said on the command line goes before what was saved: who answers, as a whole.
    let is_chosen = request.model.is_some() || request.provider.is_some() || request.tier.is_some();
    conversation.model = if is_chosen { request.model.take() } else { conversation.model };
    conversation.system = request.options.system_prompt.take().or(conversation.system);
    let screen = Screen::new(session, shown);
    let mut chat = Chat { session, request, shown, screen, conversation, answer: None, client: None };
    let is_interactive = is_interactive();
    // Held from here on, so that Ctrl-C between two turns, when nobody waits for it, does not end the program.
    let _held = is_interactive.then(|| signal(SignalKind::interrupt())).transpose().map_err(Failure::Runtime)?;
    let mut input = Input::new(&session.paths, is_interactive, !no_history);
    if is_interactive {
        chat.note("/help lists what can be typed beside turns; Ctrl-D ends");
    }
    while let Some(typed) = input.next().await? {
        let taken = tokio::select! {
            biased;
            taken = chat.take(typed) => taken,
            _ = tokio::signal::ctrl_c(), if is_interactive => {
                chat.break_off().await?;
                Ok(Next::Turn)
            }
        };
        match taken {
            Ok(Next::Turn) => {}
            Ok(Next::End) => break,
            Err(failure @ Failure::Output(_)) => return Err(failure),
            // Said, and the next turn may go better; a script has nobody who would try another.
            Err(failure) if is_interactive => drop(failure.report(session.form)),
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

impl Chat<'_> {
    async fn take(&mut self, typed: Typed) -> Result<Next, Failure> {
        match typed {
            Typed::Interrupted { was_empty: true } => self.note("Ctrl-D or /exit ends the conversation"),
            Typed::Interrupted { was_empty: false } => {}
            Typed::Text(text) if text.trim().is_empty() => {}
            Typed::Text(text) => match orders::parse(&text)? {
                Some(order) => return self.obey(order).await,
                None => self.ask(text).await?,
            },
        }
        Ok(Next::Turn)
    }

    async fn obey(&mut self, order: Order) -> Result<Next, Failure> {
        match order {
            Order::Model(None) => self.tell(&self.conversation.model_words())?,
            Order::Model(Some(model)) => self.choose(ModelId(model)).await?,
            Order::System(None) => self.tell(&self.conversation.system_words())?,
            Order::System(Some(text)) => {
                self.conversation.system = Some(text).filter(|text| !text.is_empty());
                self.note("the system prompt holds from the next turn on");
            }
            Order::Save(file) => self.save(&file)?,
            Order::Load(file) => {
                self.conversation = Conversation::load(&file)?;
                if self.conversation.model.is_some() {
                    (self.request.provider, self.request.tier) = (None, None);
                }
                self.note(&format!("{} turns are back", self.conversation.len()));
            }
            Order::Regen => {
                let asked = self.conversation.take_last_question().ok_or_else(|| Failure::Usage {
                    message: "there is nothing to answer again".into(),
                    hint: "ask something first",
                })?;
                self.ask(asked).await?;
            }
            Order::Tokens => self.count().await?,
            Order::Clear => {
                self.conversation.clear();
                self.note("everything said is forgotten; model and system prompt stay");
            }
            Order::Help => self.tell(&orders::help())?,
            Order::Exit => return Ok(Next::End),
        }
        Ok(Next::Turn)
    }

    /// Asks with all that was said before. What fails before its first word is taken back.
    async fn ask(&mut self, text: String) -> Result<(), Failure> {
        self.conversation.ask(text);
        self.answer = Some(String::new());
        self.screen = Screen::new(self.session, self.shown);
        let answered = self.answer().await;
        if matches!(answered, Err(Failure::Client(_) | Failure::Cancelled)) {
            self.screen.close_line().await?;
        }
        let answer = self.answer.take().unwrap_or_default();
        match &answered {
            Ok(()) => self.conversation.answered(answer),
            Err(_) => self.conversation.broke_off(answer),
        }
        self.explained(answered).await
    }

    async fn answer(&mut self) -> Result<(), Failure> {
        let client = connected(&mut self.client, self.session).await?;
        let request = self.conversation.request(&self.request);
        let mut answer = client.generate(&request).await?;
        while let Some(event) = answer.next().await? {
            self.screen.raw(event.json.get()).await?;
            let Some(event) = event.event else { continue };
            if let (GenerateEvent::Text { text, .. }, Some(answer)) = (&event, &mut self.answer) {
                answer.push_str(text);
            }
            self.screen.take(event).await?;
        }
        Ok(())
    }

    /// After Ctrl-C: what was under way has been dropped.
    async fn break_off(&mut self) -> Result<(), Failure> {
        self.screen.interrupted().await?;
        if let Some(answer) = self.answer.take() {
            let kept = if answer.is_empty() { "your turn is taken back" } else { "what came of it is kept" };
            self.conversation.broke_off(answer);
            self.note(&format!("the answer is broken off, {kept}; /regen asks again"));
        }
        Ok(())
    }

    /// With the way out of a full context as it is here.
    async fn explained(&self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        match outcome {
            Err(Failure::Client(error @ Error::Rpc { kind: Some(Kind::ContextOverflow), .. })) => {
                Err(Failure::Advised { hint: conversation::way_out(&error), error })
            }
            Err(failure) => match (&self.client, &self.conversation.model) {
                (Some(client), Some(model)) => advised(client, &model.0, Err(failure)).await,
                _ => Err(failure),
            },
            Ok(()) => Ok(()),
        }
    }

    /// Goes on with another model, if there is such a one here or a server that may have it.
    async fn choose(&mut self, model: ModelId) -> Result<(), Failure> {
        let client = connected(&mut self.client, self.session).await?;
        if let Err(error) = ModelsClient::get(&**client, ModelRef { model: model.clone() }).await.map_err(Error::from) {
            let server = model.0.split_once('/').map(|(server, _)| server);
            let providers = ProvidersClient::list(&**client).await?.providers;
            if !providers.iter().any(|provider| Some(&*provider.id.0) == server) {
                return advised(client, &model.0, Err(error.into())).await;
            }
        }
        self.conversation.model = Some(model);
        // It was chosen for itself, whoever was asked before.
        (self.request.provider, self.request.tier) = (None, None);
        self.tell(&self.conversation.model_words())
    }

    async fn count(&mut self) -> Result<(), Failure> {
        if self.conversation.len() == 0 {
            return self.tell("nothing was said yet");
        }
        let client = connected(&mut self.client, self.session).await?;
        // Only what ends with a question can be counted.
        let mut request = self.conversation.request(&self.request);
        request.messages.get_or_insert_default().push(Message::new(Role::User, "?"));
        let count = client.count_tokens(request).await?;
        let of = count.context_length.map_or(String::new(), |length| format!(" of {length}"));
        let model = render::printable(&count.model.0);
        self.tell(&format!("{}{of} tokens, with a next turn of one letter, by {model}", count.prompt_tokens))
    }

    fn save(&self, file: &Path) -> Result<(), Failure> {
        self.conversation.save(file)?;
        self.note(&format!("{} turns are in {}", self.conversation.len(), file.display()));
        Ok(())
    }

    /// What was asked for: on standard output, but for programs, which get answers alone there.
    fn tell(&self, text: &str) -> Result<(), Failure> {
        if self.session.form == Form::Json {
            self.note(text);
            return Ok(());
        }
        let mut stdout = anstream::stdout().lock();
        let text = format!("{}\n", text.trim_end());
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Output)
    }

    fn note(&self, text: &str) {
        if !self.session.quiet {
            render::to_stderr(&(render::dimmed(&render::printable_lines(text)) + "\n"));
        }
    }
}

/// The connection, made anew where there is none.
async fn connected<'c>(client: &'c mut Option<Client>, session: &Session) -> Result<&'c Client, Failure> {
    let kept = client.take().filter(|client| client.is_connected());
    let connection = match kept {
        Some(client) => client,
        None => session.connect_or_start().await?,
    };
    Ok(client.insert(connection))
}
