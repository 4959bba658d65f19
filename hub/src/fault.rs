//! What a hub does wrong, to whom, and how often.

/// A fault and the requests that have it.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which requests.
    pub on: Match,
    /// How many of them; `None` for all.
    pub times: Option<u32>,
    /// What goes wrong.
    pub kind: Kind,
}

/// Which requests a fault is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Descriptions of repositories.
    Info,
    /// Redirects of files, by name.
    Resolve(String),
    /// Bytes of a file that were redirected or are sent at once, by name.
    File(String),
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Kind {
    /// The connection ends after so many bytes of the body.
    Drop(u64),
    /// Nothing comes after so many bytes of the body, until the hub is healed.
    Stall(u64),
    /// The byte at this place of the file is another.
    WrongByte(u64),
    /// The body is so many bytes shorter than its stated length.
    Short(u64),
    /// An answer with this status, and `Retry-After` as given.
    Status(u16, Option<String>),
    /// The whole file, whatever was asked for.
    IgnoreRanges,
    /// A `Content-Range` that is one byte further than what was asked for.
    WrongRange,
}

impl Fault {
    /// For every such request.
    pub fn always(on: Match, kind: Kind) -> Self {
        Self { on, times: None, kind }
    }

    /// For so many of them.
    pub fn times(times: u32, on: Match, kind: Kind) -> Self {
        Self { on, times: Some(times), kind }
    }
}

/// What goes wrong with a request; each look uses a fault up once.
pub(crate) fn due(faults: &mut [Fault], on: &Match) -> Option<Kind> {
    let fault = faults.iter_mut().find(|fault| fault.on == *on && fault.times != Some(0))?;
    if let Some(times) = &mut fault.times {
        *times -= 1;
    }
    Some(fault.kind.clone())
}
