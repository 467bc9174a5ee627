"""What people and shops see of the hub: one module per group of pages, and the door through which webhooks come."""
