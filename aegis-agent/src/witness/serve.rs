//! A witness's HTTP server: small, bounded in everything a stranger can send.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aegis_log::{Answer, Witness};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use super::{ADD_CHECKPOINT, MOST, SIZE_TYPE};

/// Connections at a time; others wait.
const CONNECTIONS: usize = 256;
/// How long the head of a request, and its body, may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be taken, as when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

type Shared = Arc<Mutex<Witness>>;

/// Answers whoever connects. Does not end by itself.
pub async fn serve(listener: TcpListener, witness: Witness) -> Infallible {
    let witness = Arc::new(Mutex::new(witness));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed, so there is always a permit to wait for.
        let permit = room.clone().acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was not taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let witness = witness.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, witness.clone()));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(MOST)
                .serve_connection(TokioIo::new(stream), service);
            // Who broke off needs no answer.
            let _ = connection.await;
            drop(permit);
        });
    }
}

async fn answer(request: Request<Incoming>, witness: Shared) -> Result<Response<Full<Bytes>>, io::Error> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if path == ADD_CHECKPOINT {
        if method != Method::POST {
            return Ok(refuse(StatusCode::METHOD_NOT_ALLOWED, "POST"));
        }
        let body = timeout(PATIENCE, Limited::new(request.into_body(), MOST).collect()).await;
        return match body {
            Ok(Ok(body)) => add_checkpoint(body.to_bytes(), witness).await,
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n".to_owned()))
            }
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(late) => Err(late.into()),
        };
    }
    let origin = path.strip_prefix('/').and_then(|path| path.strip_suffix("/checkpoint"));
    let Some(origin) = origin else {
        return Ok(plain(StatusCode::NOT_FOUND, "there is nothing here\n".to_owned()));
    };
    if method != Method::GET && method != Method::HEAD {
        return Ok(refuse(StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
    }
    let latest = lock(&witness).latest(origin).map(str::to_owned);
    Ok(match latest {
        Some(note) => plain(StatusCode::OK, note),
        None => plain(StatusCode::NOT_FOUND, "no checkpoint of this origin was cosigned\n".to_owned()),
    })
}

async fn add_checkpoint(body: Bytes, witness: Shared) -> Result<Response<Full<Bytes>>, io::Error> {
    // It waits for the disk.
    let answer = tokio::task::spawn_blocking(move || lock(&witness).add_checkpoint(&body, now()));
    let answer = answer.await.map_err(io::Error::other)?;
    match &answer {
        Answer::Inconsistent(refused) => {
            tracing::warn!(checkpoint = refused.note(), "a signed checkpoint is not shown to extend the one cosigned before: refused");
        }
        Answer::Failed(error) => tracing::error!(%error, "the state was not written: nothing cosigned"),
        other => tracing::info!(status = other.status(), "answered"),
    }
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = plain(status, answer.body());
    if matches!(answer, Answer::Conflict(_)) {
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(SIZE_TYPE));
    }
    Ok(response)
}

/// A panic elsewhere leaves the witness as it was: it changes only once its state is on the disk.
fn lock(witness: &Shared) -> std::sync::MutexGuard<'_, Witness> {
    witness.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn plain(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn refuse(status: StatusCode, allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = plain(status, format!("use {allowed}\n"));
    response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(allowed));
    response
}
