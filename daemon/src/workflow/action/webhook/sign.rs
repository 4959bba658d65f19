//! Signatures of what is sent.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// `t=SECONDS,v1=HEX`. Who knows the key computes the HMAC-SHA256 of the seconds, a dot and the body as it came, compares
/// it in constant time, and refuses seconds of long ago, so that nobody sends the same again later.
pub(super) fn signature(key: &SecretString, now: SystemTime, body: &str) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    let mut text = format!("t={seconds},v1=");
    for byte in mac.finalize().into_bytes() {
        write!(text, "{byte:02x}").expect("text takes everything");
    }
    text
}
