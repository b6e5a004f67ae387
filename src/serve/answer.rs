//! How much memory do answers over HTTP/2 take, and until when? Until the client has taken them (RFC 9113 §5.2).
//!
//! There a client asks for a hundred pages at once and says how much of each it wants now: nothing, if it likes.
//! hyper and h2 keep what is left over, however long. So every piece of an answer carries its part of the room
//! for answers, and its entry among those that are waited for (`connection.rs`), until h2 has written the piece to
//! the socket or forgotten it. On HTTP/1 one answer is under way at a time, and nobody asks for the next before.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::{Body as _, Buf, Frame, Incoming, SizeHint};

use super::connection::Untaken;
use crate::error::RETRY_AFTER;
use crate::middleware::limits::headers_length;
use crate::room::{Full, Part, Room};

/// Bytes of all answers together that nobody has taken yet.
const ANSWERS: usize = 16 << 20;
/// One network may have one of so many parts of it: some two hundred and fifty requests at once.
const NETWORKS: usize = 8;
/// What is taken before anything is done for a request, so that nothing is done whose answer finds no room: tokens and
/// redirects fit into it beside their stream, and larger pages only show something.
const LEAST: usize = 8 * 1024;

/// The room for all answers.
pub(super) fn room() -> Room {
    Room::new(ANSWERS, ANSWERS / NETWORKS)
}

/// Takes the room of an answer that is not there yet, and of the request's head until it is.
pub(super) fn reserve(part: &mut Part, request: &Request<Incoming>) -> Result<(), Full> {
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    part.grow(LEAST + uri + headers_length(request.headers()))
}

/// Said where there is no room, in as few bytes as can be.
pub(super) fn refusal(full: Full, part: Part, untaken: Untaken) -> Response<Answer> {
    let mut response = Response::new(Answer::holding(Body::empty(), part, untaken));
    *response.status_mut() = full.status();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
    response
}

/// A body that takes its room until it has left.
pub(super) struct Answer {
    body: Body,
    held: Arc<Held>,
}

/// What ends with the last piece.
struct Held {
    _part: Part,
    _untaken: Untaken,
}

impl Answer {
    /// A body for which [`reserve`] took a part. It may need a larger one; the head of the request needs none any
    /// more, of which a few bytes on the line may have made a lot (RFC 7541 §7.3).
    pub(super) fn new(body: Body, mut part: Part, untaken: Untaken) -> Result<Self, Full> {
        let length = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        part.resize(length.max(LEAST))?;
        Ok(Self::holding(body, part, untaken))
    }

    fn holding(body: Body, part: Part, untaken: Untaken) -> Self {
        Self { body, held: Arc::new(Held { _part: part, _untaken: untaken }) }
    }
}

impl hyper::body::Body for Answer {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // Copied: what a page was written into has room for another one.
        let piece =
            |bytes: Bytes| Piece { bytes: Bytes::copy_from_slice(&bytes), _held: Arc::clone(&self.held) };
        polled.map(|read| read.map(|read| read.map(|frame| frame.map_data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes on their way.
pub(super) struct Piece {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
