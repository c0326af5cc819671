module reroll.dev/devcluster/pki

go 1.24.0
