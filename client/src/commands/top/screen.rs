//! The whole terminal for one picture, given back as it was when this is dropped, and the keys that are pressed there.

use std::io::{self, IsTerminal, Stdout, Write};

use anstream::adapter::strip_str;
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{cursor, execute, queue};
use futures_util::StreamExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::render::top;
use crate::render::top::view::View;

/// What a terminal takes where it does not tell its size.
const SIZE: (u16, u16) = (80, 24);

/// Whether there is a terminal, at both ends, that has more than lines.
pub fn is_possible() -> bool {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    is_terminal && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// The terminal.
pub struct Screen {
    stdout: Stdout,
}

impl Screen {
    /// Takes the terminal.
    pub fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        // From here on it is given back, whatever comes.
        let mut screen = Self { stdout: io::stdout() };
        execute!(screen.stdout, EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// Draws the last picture, and whether the daemon is there.
    pub fn draw(&mut self, view: Option<&View>, is_gone: bool) -> io::Result<()> {
        let (columns, rows) = size().unwrap_or(SIZE);
        let mut text = view.map_or(String::new(), |view| top::picture(view, Some(usize::from(columns))));
        if is_gone {
            text = top::gone(&text);
        }
        if anstream::AutoStream::choice(&self.stdout) == anstream::ColorChoice::Never {
            text = strip_str(&text).to_string();
        }
        queue!(self.stdout, cursor::MoveTo(0, 0))?;
        for (row, line) in top::fitted(&text, usize::from(columns), usize::from(rows)).iter().enumerate() {
            if row > 0 {
                write!(self.stdout, "\r\n")?;
            }
            write!(self.stdout, "{line}")?;
            queue!(self.stdout, Clear(ClearType::UntilNewLine))?;
        }
        queue!(self.stdout, Clear(ClearType::FromCursorDown))?;
        self.stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = execute!(self.stdout, cursor::Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// What somebody at the terminal wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    End,
    /// It has another size.
    Resized,
}

/// What is pressed.
pub struct Keys {
    events: EventStream,
    /// Asks for an end as a key does; left to the system, it would leave the terminal as it is.
    terminate: Option<Signal>,
}

/// Listens from now on.
pub fn keys() -> Keys {
    Keys { events: EventStream::new(), terminate: signal(SignalKind::terminate()).ok() }
}

impl Keys {
    /// The next that means something. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Key {
        loop {
            let terminated = async {
                match &mut self.terminate {
                    Some(signal) => drop(signal.recv().await),
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                event = self.events.next() => event,
                () = terminated => return Key::End,
            };
            match event {
                Some(Ok(Event::Key(key))) if is_end(key) => return Key::End,
                Some(Ok(Event::Resize(..))) => return Key::Resized,
                Some(Ok(_)) => {}
                // A terminal that cannot be read is gone.
                Some(Err(_)) | None => return Key::End,
            }
        }
    }
}

/// q, Esc and Ctrl-C.
fn is_end(key: KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
            KeyCode::Char('c' | 'd') => is_control,
            _ => false,
        }
}
