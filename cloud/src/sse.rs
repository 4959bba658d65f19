//! Server-sent events: a body of bytes, however it is cut, to the data of its events.
//!
//! After the HTML standard, 9.2.6 "Interpreting an event stream". Names and ids of events are not used by the APIs here.
//! Own code, since `eventsource-stream` panics at a byte order mark and `sse-stream` has no bound on an event's size.

/// Longest event.
const LONGEST: usize = 16 << 20;

/// Takes bytes, gives events.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The line that has not ended.
    line: Vec<u8>,
    /// Data of the event that has not ended.
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return: a line feed after it ends no line of its own.
    after_return: bool,
    /// Whether the first line has begun, before which a byte order mark may stand.
    has_begun: bool,
}

/// An event is longer than any should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Decoder {
    /// Takes the next bytes, and adds the data of the events that they end.
    pub(crate) fn push(&mut self, bytes: &[u8], events: &mut Vec<Vec<u8>>) -> Result<(), TooLong> {
        for byte in bytes {
            match byte {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    self.end_line(events);
                }
                byte => {
                    self.after_return = false;
                    self.line.push(*byte);
                }
            }
            if self.line.len() + self.data.len() > LONGEST {
                return Err(TooLong);
            }
        }
        Ok(())
    }

    /// The data of an event that the end of the body ended, which the standard drops and servers mean.
    pub(crate) fn end(&mut self) -> Option<Vec<u8>> {
        let mut events = Vec::new();
        if !self.line.is_empty() {
            self.end_line(&mut events);
        }
        self.end_line(&mut events);
        events.pop()
    }

    fn end_line(&mut self, events: &mut Vec<Vec<u8>>) {
        let line = std::mem::take(&mut self.line);
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if !self.has_begun => rest,
            _ => &line,
        };
        self.has_begun = true;
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            if std::mem::take(&mut self.has_data) {
                events.push(data);
            }
            return;
        }
        let Some(value) = line.strip_prefix(b"data") else { return };
        let value = match value.strip_prefix(b":") {
            Some(value) => value.strip_prefix(b" ").unwrap_or(value),
            None if value.is_empty() => value,
            None => return,
        };
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
