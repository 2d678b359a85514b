//! What the doors rely on: the digests are a body's MD5 and SHA-256, however it comes and whoever else uploads.

use std::time::Duration;

use bytes::Bytes;
use md5::Digest as _;
use proptest::prelude::*;
use tokio::task::JoinSet;

use super::{Digester, Digests};

fn body(length: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    });
    words.take(length).collect()
}

/// By the crates that do nothing at once.
fn expected(body: &[u8], with_sha256: bool) -> Digests {
    Digests { md5: md5::Md5::digest(body).into(), sha256: with_sha256.then(|| sha2::Sha256::digest(body).into()) }
}

async fn digest(body: Bytes, pieces: &[usize], with_sha256: bool) -> Digests {
    let mut rest = body;
    let mut digester = Digester::new(with_sha256);
    for length in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        digester.update(rest.split_to((*length).clamp(1, rest.len()))).await;
        tokio::task::yield_now().await;
    }
    digester.finish().await
}

fn check_together(bodies: Vec<(Bytes, Vec<usize>)>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let mut uploads = JoinSet::new();
        for (at, (body, pieces)) in bodies.into_iter().enumerate() {
            let signed = at % 3 > 0;
            uploads.spawn(async move {
                let found = digest(body.clone(), &pieces, signed).await;
                assert_eq!(found, expected(&body, signed), "{} bytes by {pieces:?}", body.len());
            });
        }
        while let Some(ended) = uploads.join_next().await {
            ended.expect("digests agree");
        }
    });
}

#[tokio::test]
async fn the_digest_is_rfc_1321s() {
    for (text, expected) in [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("a", "0cc175b9c0f1b6a831c399e269772661"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a",
        ),
    ] {
        assert_eq!(hex::encode(digest(Bytes::from(text), &[7], false).await.md5), expected, "{text}");
    }
}

#[tokio::test]
async fn padding_fits_around_every_length_of_the_last_block() {
    for length in (0..=130).chain(65_530..65_540) {
        let body = body(length, 3);
        assert_eq!(digest(body.clone(), &[61], true).await, expected(&body, true), "{length} bytes");
    }
}

#[test]
fn uploads_of_every_size_hashed_together_do_not_mix() {
    let sizes = [1, 65_536, 65_537, 131_072, 300_001, 1 << 20, 3_000_003];
    let pieces = [vec![65_536], vec![1, 100_000], vec![8_192, 31], vec![700_000], vec![777]];
    let bodies = (0..40).map(|at| (body(sizes[at % sizes.len()], at as u64), pieces[at % pieces.len()].clone()));
    check_together(bodies.collect());
}

#[test]
fn uploads_given_up_half_way_harm_nobody() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let whole = body(1 << 20, 1);
        let expected = expected(&whole, true);
        let mut uploads = JoinSet::new();
        for at in 0..48u64 {
            let whole = whole.clone();
            uploads.spawn(async move {
                let taken = digest(whole, &[16_384], true);
                if at % 2 == 0 {
                    // Given up at some point of its life: gathering, in the queue, in a lane, or not at all.
                    let _ = tokio::time::timeout(Duration::from_micros(at * 200), taken).await;
                } else {
                    assert_eq!(taken.await, expected);
                }
            });
        }
        while let Some(ended) = uploads.join_next().await {
            ended.expect("digests agree");
        }
    });
}

#[tokio::test]
async fn an_update_dropped_while_it_waits_loses_no_bytes() {
    let whole = body(4 << 20, 9);
    let company: Vec<Digester> = futures::future::join_all((0..4).map(|_| async {
        let mut digester = Digester::new(true);
        digester.update(Bytes::from(vec![0; 70_000])).await;
        digester
    }))
    .await;
    let mut digester = Digester::new(true);
    for at in (0..whole.len()).step_by(1 << 16) {
        let update = digester.update(whole.slice(at..at + (1 << 16)));
        // Polled once and dropped, whether it was done or not.
        let _ = futures::FutureExt::now_or_never(update);
    }
    assert_eq!(digester.finish().await, expected(&whole, true));
    drop(company);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_bodies_in_any_pieces_side_by_side_have_their_digests(
        uploads in prop::collection::vec(
            (0usize..600_000, any::<u64>(), prop::collection::vec(1usize..200_000, 1..6)),
            1..24,
        )
    ) {
        check_together(uploads.into_iter().map(|(length, seed, pieces)| (body(length, seed), pieces)).collect());
    }
}
