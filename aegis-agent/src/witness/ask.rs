//! Asking a witness to cosign a checkpoint of a log.

use std::{sync::Arc, time::Duration};

use aegis_log::{CheckpointError, PolicyWitness, ProveError, Reader, SignedCheckpoint};
use ureq::{
    Agent,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{ADD_CHECKPOINT, MOST};
use crate::escape;

/// How long a witness may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where distributions keep the authorities that hosts trust.
const AUTHORITIES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It could not be asked, or did not answer as a witness does.
    #[error("{0}")]
    NoAnswer(String),
    /// It said no to something that is not the log's history.
    #[error("it answered {status}: {text}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        text: String,
    },
    /// What it gave is no cosignature by its key.
    #[error("what it answered is no cosignature by its key: {0}")]
    Cosignature(CheckpointError),
    /// It has seen more of the log than there is.
    #[error(
        "it has cosigned {seen} entries of this log, which has {size}: the log was cut or rolled back (or the witness is wrong; its checkpoint of the log tells)"
    )]
    Ahead {
        /// Entries that it cosigned.
        seen: u64,
        /// Entries of the checkpoint.
        size: u64,
    },
    /// What it has seen of the log is not in it.
    #[error("it does not find the {0} entries that it cosigned in this log: the log was rewritten (a fork; or the witness is wrong, its checkpoint of the log tells)")]
    Forked(u64),
    /// The log itself can make no proof.
    #[error(transparent)]
    Prove(#[from] ProveError),
}

impl AskError {
    /// Whether it is what a log that was rolled back or rewritten looks like to a witness.
    #[must_use]
    pub const fn tells_of_tampering(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::Forked(_))
    }
}

/// An answer, whatever its status.
struct Reply {
    status: u16,
    text: String,
}

/// Asks one witness, which had cosigned `guess` entries when it was last heard of, and answers `checkpoint` with its
/// cosignature.
///
/// # Errors
/// [`AskError`]
pub fn cosign(reader: &Reader, checkpoint: &SignedCheckpoint, witness: &PolicyWitness, guess: u64) -> Result<SignedCheckpoint, AskError> {
    let url = witness.url.as_deref().ok_or_else(|| AskError::NoAnswer("the policy has no URL for it".to_owned()))?;
    let agent = agent(url)?;
    let size = checkpoint.size();
    let mut old = guess.min(size);
    let mut reply = post(&agent, url, &reader.prove(old, checkpoint)?.to_string())?;
    if reply.status == 409 {
        old = seen(&reply.text)?;
        if old > size {
            return Err(ahead(reader, old, size));
        }
        reply = post(&agent, url, &reader.prove(old, checkpoint)?.to_string())?;
    }
    match reply.status {
        200 => checkpoint.with_cosignature(&reply.text, &witness.key).map_err(AskError::Cosignature),
        422 => Err(AskError::Forked(old)),
        // Somebody else asked it meanwhile, with a newer checkpoint of this log or of one that has its key.
        409 => match seen(&reply.text)? {
            seen if seen > size => Err(ahead(reader, seen, size)),
            seen => Err(AskError::NoAnswer(format!("it has cosigned {old} entries and then {seen}: ask again"))),
        },
        status => Err(AskError::Refused { status, text: escape::text(&reply.text.trim().chars().take(200).collect::<String>()) }),
    }
}

/// What it means that a witness has cosigned more than there was when this round began.
fn ahead(reader: &Reader, seen: u64, size: u64) -> AskError {
    let now = Reader::open(reader.dir()).map_or(0, |reader| reader.size());
    if now >= seen {
        return AskError::NoAnswer(format!("another round has asked it for {seen} entries meanwhile: ask again"));
    }
    AskError::Ahead { seen, size }
}

fn seen(text: &str) -> Result<u64, AskError> {
    let size = text.trim_end_matches('\n');
    size.parse().map_err(|_| AskError::NoAnswer("its answer 409 holds no size".to_owned()))
}

fn agent(url: &str) -> Result<Agent, AskError> {
    let mut config = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")));
    // What comes back is signed, so that plain HTTP, as within a host, gives nothing away that could be forged.
    if url.starts_with("https:") {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(authorities()?).build();
        config = config.tls_config(tls);
    }
    Ok(config.build().new_agent())
}

/// The authorities that this host trusts.
fn authorities() -> Result<RootCerts, AskError> {
    let named = std::env::var("SSL_CERT_FILE").ok();
    let mut files = named.iter().map(String::as_str).chain(AUTHORITIES);
    let pem = files.find_map(|file| std::fs::read(file).ok());
    let missing = || AskError::NoAnswer("this host has no file of certificate authorities: install ca-certificates, or name one in SSL_CERT_FILE".to_owned());
    let pem = pem.ok_or_else(missing)?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

fn post(agent: &Agent, url: &str, body: &str) -> Result<Reply, AskError> {
    let wrong = |error: ureq::Error| AskError::NoAnswer(error.to_string());
    let url = format!("{}{ADD_CHECKPOINT}", url.trim_end_matches('/'));
    let mut response = agent.post(&url).header("content-type", "text/plain; charset=utf-8").send(body).map_err(wrong)?;
    let status = response.status().as_u16();
    let text = response.body_mut().with_config().limit(MOST as u64).read_to_string().map_err(wrong)?;
    Ok(Reply { status, text })
}
