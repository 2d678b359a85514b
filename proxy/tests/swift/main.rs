//! The Swift door over a real store, as its clients see it: one request, one answer.

mod access;
mod account;
mod background;
mod bulk;
mod conditional;
mod container;
mod copying;
mod door;
mod encryption;
mod large;
mod links;
mod object;
mod object_versions;
mod operators;
mod pipeline;
mod quotas;
mod ranges;
mod sharing;
mod signed;
mod sites;
mod synced;
mod tempauth;
mod uploads;
mod versions;
