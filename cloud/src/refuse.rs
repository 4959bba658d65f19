//! What a server cannot do is refused before it is asked, so that no option is dropped in silence.

use protocol::{GenerationOptions, ResponseFormat, Speculation};

use crate::Error;

/// Options that no server's API here has.
pub(crate) fn options(options: &GenerationOptions, most_stops: usize) -> Result<(), Error> {
    let asked = [
        ("n", options.n > 1),
        ("logprobs", options.logprobs.is_some()),
        ("kv_bits", options.kv_bits.is_some()),
        ("speculation", matches!(options.speculation, Speculation::Lookup | Speculation::Draft)),
        ("xtc_probability", options.xtc_probability > 0.0),
        ("repetition_penalty", differs(options.repetition_penalty, 1.0)),
    ];
    if let Some((name, _)) = asked.into_iter().find(|(_, is_asked)| *is_asked) {
        return Err(not_supported(name));
    }
    if options.stop_sequences.len() > most_stops {
        let words =
            format!("it takes {most_stops} options.stop_sequences at most; leave the others out, or ask a local model");
        return Err(Error::NotSupported(words));
    }
    Ok(())
}

/// Formats that no server's API here has.
pub(crate) fn format(format: Option<&ResponseFormat>) -> Result<(), Error> {
    match format {
        Some(ResponseFormat::Regex { .. } | ResponseFormat::Lark { .. }) => {
            let words = "it takes a response_format of json_object and json_schema only; ask a local model for others";
            Err(Error::NotSupported(words.into()))
        }
        None | Some(ResponseFormat::Text {} | ResponseFormat::JsonObject {} | ResponseFormat::JsonSchema { .. }) => {
            Ok(())
        }
    }
}

/// One option that a server does not have.
pub(crate) fn not_supported(option: &str) -> Error {
    Error::NotSupported(format!("it has no options.{option}; leave it out, or ask a local model"))
}

/// Whether a number was set to something else than what changes nothing.
pub(crate) fn differs(number: f32, neutral: f32) -> bool {
    (number - neutral).abs() > f32::EPSILON
}
