"""What a mirror host serves: the back ends of both sides, and the gateway before them."""
