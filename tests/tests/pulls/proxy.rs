//! What may stand between the daemon and the hub: a proxy, or an end of TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use talkied_hub::Hub;

/// Begins the paths of other hosts than the hub.
const ELSEWHERE: &str = "/elsewhere/";

/// Passes HTTP on, and notes which hosts it is asked for; `hub.invalid` and its own name are the hub.
pub struct Proxy {
    /// Where it is.
    pub address: String,
    /// In the order of requests.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// Who must be trusted for it, in PEM; empty without TLS.
    pub certificate: String,
}

impl Proxy {
    /// One of plain HTTP.
    pub fn start(hub: &Hub) -> Self {
        let (listener, address) = listen();
        Self::serve(listener, format!("http://{address}"), String::new(), hub, |client| client)
    }

    /// One that is the hub, with a certificate of its own.
    pub fn with_tls(hub: &Hub) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let config = Arc::new(config);
        let (listener, address) = listen();
        let address = address.replace("127.0.0.1", "localhost");
        Self::serve(listener, format!("https://{address}"), made.cert.pem(), hub, move |client| {
            StreamOwned::new(ServerConnection::new(Arc::clone(&config)).expect("it has a certificate"), client)
        })
    }

    fn serve<S: Read + Write>(
        listener: TcpListener,
        address: String,
        certificate: String,
        hub: &Hub,
        open: impl Fn(TcpStream) -> S + Clone + Send + 'static,
    ) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let here = if certificate.is_empty() { String::new() } else { address.clone() };
        let route = Arc::new(Route { hub: hub.endpoint().replace("http://", ""), here, asked: Arc::clone(&asked) });
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (open, route) = (open.clone(), Arc::clone(&route));
                // Clients end their connections as they like.
                thread::spawn(move || drop(route.pass_on(&mut open(client))));
            }
        });
        Self { address, asked, certificate }
    }
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    (listener, address)
}

/// Where requests go.
struct Route {
    hub: String,
    /// Where redirects shall lead to instead of plain hosts; empty where they may.
    here: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Route {
    /// One request a connection, so that each is seen.
    fn pass_on(&self, client: &mut (impl Read + Write)) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).map_err(io::Error::other)?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (host, path) = match target.strip_prefix("http://").or_else(|| target.strip_prefix(ELSEWHERE)) {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("hub.invalid", target),
        };
        self.asked.lock().expect("no thread panics here").push(host.to_owned());
        let mut server = TcpStream::connect(if host == "hub.invalid" { &self.hub } else { host })?;
        server.write_all(head.replacen(target, path, 1).as_bytes())?;
        let mut server = BufReader::new(server);
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            server.read_line(&mut line)?;
            let bytes = line.to_ascii_lowercase().strip_prefix("content-length:").and_then(|it| it.trim().parse().ok());
            length = bytes.unwrap_or(length);
            if !self.here.is_empty() && line.starts_with("Location: http://") {
                line = line.replacen("http://", &format!("{}{ELSEWHERE}", self.here), 1);
            }
            client.write_all(line.as_bytes())?;
        }
        io::copy(&mut server.take(length), client)?;
        client.flush()
    }
}
