"""`kit report`: everything there is to see in a workspace, as one HTML page that needs no network and no server.

numbers    scores, curves and tables from the stores, as plain values
line       a leaderboard's scores against CV, and the line through them
picks      which photos are worth a look
pictures   those photos, small enough to lie in the page
write      the page and, for more photos than it holds, a folder beside it
"""

from kit.report.page.write import Report, write_report

__all__ = ["Report", "write_report"]
