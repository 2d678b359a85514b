//! Bytes waiting to be hashed: the pieces of one upload as they came, read block by block without joining
//! them. Only a block that spans two pieces is copied, into 64 bytes of its own.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::kernel::{BLOCK_BYTES, Block};

/// Pieces of a stream in order. None is empty.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Pieces {
    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Bytes in all pieces.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of pieces.
    pub(super) fn count(&self) -> usize {
        self.pieces.len()
    }

    /// Takes all whole blocks out; fewer than [`BLOCK_BYTES`] bytes remain.
    pub(super) fn take_blocks(&mut self) -> Work {
        let mut pieces = std::mem::take(&mut self.pieces);
        let blocks = self.bytes / BLOCK_BYTES;
        self.bytes %= BLOCK_BYTES;
        let mut missing = self.bytes;
        while missing > 0 {
            let mut last = pieces.pop_back().expect("the pieces hold `bytes` bytes");
            let kept = missing.min(last.len());
            self.pieces.push_front(last.split_off(last.len() - kept));
            if !last.is_empty() {
                pieces.push_back(last);
            }
            missing -= kept;
        }
        Work { pieces, blocks, spanning: None }
    }

    /// Copies everything, fewer than [`BLOCK_BYTES`] bytes, to the start of `block` and says how many.
    pub(super) fn copy_tail(&self, block: &mut Block) -> usize {
        let mut at = 0;
        for piece in &self.pieces {
            block[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        at
    }
}

/// Whole blocks to hash, in order.
#[derive(Debug)]
pub(super) struct Work {
    pieces: VecDeque<Bytes>,
    blocks: usize,
    /// The next block, when it lies in more than one piece. It stays in `pieces` until it is hashed.
    spanning: Option<Block>,
}

impl Work {
    /// Blocks that are still to be hashed.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Makes [`Work::run`] not empty while blocks are left.
    pub(super) fn prepare(&mut self) {
        let spans = self.pieces.front().is_some_and(|front| front.len() < BLOCK_BYTES);
        if self.spanning.is_none() && spans {
            let mut block = [0; BLOCK_BYTES];
            let mut at = 0;
            for piece in &self.pieces {
                let taken = piece.len().min(BLOCK_BYTES - at);
                block[at..at + taken].copy_from_slice(&piece[..taken]);
                at += taken;
                if at == BLOCK_BYTES {
                    break;
                }
            }
            debug_assert_eq!(at, BLOCK_BYTES, "only whole blocks are taken out");
            self.spanning = Some(block);
        }
    }

    /// The next blocks that lie together.
    pub(super) fn run(&self) -> &[Block] {
        match (&self.spanning, self.pieces.front()) {
            (Some(block), _) => std::slice::from_ref(block),
            (None, Some(front)) => front.as_chunks().0,
            (None, None) => &[],
        }
    }

    /// Forgets the first `blocks` blocks of [`Work::run`] and lets go of pieces that are done.
    pub(super) fn advance(&mut self, blocks: usize) {
        self.spanning = None;
        self.blocks -= blocks;
        let mut bytes = blocks * BLOCK_BYTES;
        while bytes > 0 {
            let front = self.pieces.front_mut().expect("the blocks of a run lie in the pieces");
            let taken = bytes.min(front.len());
            front.advance(taken);
            bytes -= taken;
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_in_order_whatever_pieces_they_came_in() {
        let all: Vec<u8> = (0..1000u16).map(|byte| (byte % 251) as u8).collect();
        for lengths in [&[1000][..], &[1, 63, 64, 65, 300], &[0, 30, 30, 0, 3, 500], &[63; 15], &[1; 200], &[]] {
            let mut pieces = Pieces::default();
            let mut at = 0;
            for length in lengths {
                pieces.push(Bytes::copy_from_slice(&all[at..at + length]));
                at += length;
            }
            let mut work = pieces.take_blocks();
            let mut seen = Vec::new();
            while work.blocks() > 0 {
                work.prepare();
                let step = work.run().len().min(3);
                seen.extend_from_slice(work.run()[..step].as_flattened());
                work.advance(step);
            }
            let mut tail = [0; BLOCK_BYTES];
            let kept = pieces.copy_tail(&mut tail);
            assert_eq!(kept, pieces.bytes());
            seen.extend_from_slice(&tail[..kept]);
            assert_eq!(seen, all[..at], "{lengths:?}");
        }
    }
}
