# placeholder until the build rules land
all:
	cargo build --release --target x86_64-unknown-linux-musl
