require ["editheader", "vacation"];
# Pigeonhole does not answer what comes from a mailing list, and takes one-click unsubscribing for the mark of one. Other
# programs answer it: as they do, this mailbox forgets the mark first.
deleteheader "List-Unsubscribe";
deleteheader "List-Unsubscribe-Post";
vacation :days 7 :subject "Away until Monday" "I am away until Monday and will answer then.";
