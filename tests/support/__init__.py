"""What tests share: small competitions and networks, stand-ins for services, and `kit` as it is typed."""
