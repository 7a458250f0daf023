"""VEX as bundles and files carry it: rows of the consensus, OpenVEX, CSAF, CycloneDX, repositories for Trivy."""
