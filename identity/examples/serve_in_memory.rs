//! Serves the identity room over records in memory, to try clients against it without a store:
//! `cargo run -p anello-identity --example serve_in_memory -- 127.0.0.1:5000`. The user is `admin`, the password
//! `secret`, and everything is forgotten at the end.

use std::sync::Arc;

use anello_identity::records::MemoryRecords;
use anello_identity::{Bootstrap, CatalogEntry, IdentityConfig, IdentityRoom};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let config = IdentityConfig { cluster_secret: b"not a secret".to_vec(), public_url: None };
    let room = IdentityRoom::open_with(Arc::new(MemoryRecords::default()), config).await?;
    let entry = |kind: &str, name: &str, path: &str| CatalogEntry {
        kind: kind.to_owned(),
        name: name.to_owned(),
        url: format!("http://{listen}{path}"),
    };
    let catalog =
        vec![entry("identity", "keystone", "/identity"), entry("object-store", "swift", "/v1/AUTH_%(project_id)s")];
    let admin_password = "secret".to_owned();
    room.bootstrap(&Bootstrap { admin_password, region: "RegionOne".to_owned(), catalog }).await?;
    let router = axum::Router::new().nest_service("/identity", room.router());
    axum::serve(tokio::net::TcpListener::bind(&listen).await?, router).await?;
    Ok(())
}
