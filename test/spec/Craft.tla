------------------------------- MODULE Craft -------------------------------
(***************************************************************************)
(* One group of craft: Raft, with timestamps (T1), promises (T2), closed   *)
(* timestamps (T3), and what the merge of all groups needs of each of them *)
(* (T4): two servers agree on every entry at or below the smaller of their *)
(* two watermarks. The merge itself is a function of that: the entries of  *)
(* all groups at or below the smallest watermark, by (timestamp, group).   *)
(*                                                                         *)
(* Messages are facts that are never forgotten: whoever is in the term     *)
(* that they belong to, or an older one, may act upon them at any time,    *)
(* again, in any order, or never. So the network may lose, delay, double   *)
(* and reorder. What a follower has heard but not made durable is as good  *)
(* as not heard; only a leader uses what is not durable yet (its log).     *)
(* What is known to be committed or closed stays true, so a crash that     *)
(* forgets it adds nothing. Members do not change here, and the clocks say *)
(* what they like.                                                         *)
(***************************************************************************)
EXTENDS Integers, FiniteSets, Sequences, TLC

CONSTANTS
  Server,    \* the voters
  Nobody,
  MaxTerm,   \* bounds of the state space
  MaxTime,
  MaxLength,
  MaxClaims, \* of one leader
  Defect     \* "none", or a planted one that an invariant must catch

VARIABLES
  term, votedFor, role, log,  \* by server; all but the role are durable, of the log ...
  durable,   \* ... this much
  promised,  \* by server: the largest timestamp promised (T2); durable
  commit,    \* by server: commit index
  closed,    \* by server: the largest closed timestamp that counts there (T3)
  votes,     \* facts: [term, to, from, promised]
  winners,   \* by term: who has won its election
  leaderLog, \* by term: the log of its leader, which only grows
  floor,     \* by term: its leader stamps above this
  matched,   \* by term and server: how much of the leader's log is durable there
  committed, \* by term: what its leader, or a follower, knows to be committed
  claims,    \* facts: [term, time, index]
  promises,  \* facts: [term, from, time]
  history,   \* the longest committed log so far
  isLate     \* whether some server has seen an entry committed at or below what was closed there

vars == <<term, votedFor, role, log, durable, promised, commit, closed, votes, winners, leaderLog, floor, matched,
          committed, claims, promises, history, isLate>>

Terms == 1..MaxTerm
Quorum == {Q \in SUBSET Server : Cardinality(Q) * 2 > Cardinality(Server)}
Max(S) == CHOOSE x \in S : \A y \in S : y <= x
Min(S) == CHOOSE x \in S : \A y \in S : x <= y
LastTime(l) == IF l = <<>> THEN 0 ELSE l[Len(l)].time
LastTerm(l) == IF l = <<>> THEN 0 ELSE l[Len(l)].term
TimeAt(l, i) == IF i = 0 THEN 0 ELSE l[i].time
IsPrefix(a, b) == Len(a) <= Len(b) /\ SubSeq(b, 1, Len(a)) = a

Init ==
  /\ term = [s \in Server |-> 0]
  /\ votedFor = [s \in Server |-> Nobody]
  /\ role = [s \in Server |-> "follower"]
  /\ log = [s \in Server |-> <<>>]
  /\ durable = [s \in Server |-> 0]
  /\ promised = [s \in Server |-> 0]
  /\ commit = [s \in Server |-> 0]
  /\ closed = [s \in Server |-> 0]
  /\ votes = {}
  /\ winners = [t \in Terms |-> {}]
  /\ leaderLog = [t \in Terms |-> <<>>]
  /\ floor = [t \in Terms |-> 0]
  /\ matched = [t \in Terms |-> [s \in Server |-> 0]]
  /\ committed = [t \in Terms |-> 0]
  /\ claims = {}
  /\ promises = {}
  /\ history = <<>>
  /\ isLate = FALSE

-----------------------------------------------------------------------------
(* Elections: Raft sections 5.2 and 5.4.1. A vote carries the promise (T2). *)

(* What was granted to a server that does not stand any more is of no use. *)
VotesWithout(s) == {v \in votes : v.to # s}

PromiseInVote(s) == IF Defect = "forget-promise-in-vote" THEN 0 ELSE promised[s]

Campaign(s) ==
  /\ role[s] # "leader"
  /\ term[s] < MaxTerm
  /\ term' = [term EXCEPT ![s] = @ + 1]
  /\ votedFor' = [votedFor EXCEPT ![s] = s]
  /\ role' = [role EXCEPT ![s] = "candidate"]
  /\ durable' = [durable EXCEPT ![s] = Len(log[s])]
  /\ votes' = VotesWithout(s) \cup {[term |-> term[s] + 1, to |-> s, from |-> s, promised |-> promised[s]]}
  /\ UNCHANGED <<log, promised, commit, closed, winners, leaderLog, floor, matched, committed, claims, promises, history,
                 isLate>>

IsUpToDate(candidate, voter) ==
  \/ LastTerm(log[candidate]) > LastTerm(log[voter])
  \/ /\ LastTerm(log[candidate]) = LastTerm(log[voter])
     /\ Len(log[candidate]) >= Len(log[voter])

Vote(s, candidate) ==
  LET t == term[candidate] IN
  /\ s # candidate
  /\ role[candidate] = "candidate"
  /\ \/ term[s] < t
     \/ term[s] = t /\ votedFor[s] = Nobody
  /\ IsUpToDate(candidate, s)
  /\ term' = [term EXCEPT ![s] = t]
  /\ votedFor' = [votedFor EXCEPT ![s] = candidate]
  /\ role' = [role EXCEPT ![s] = "follower"]
  /\ durable' = [durable EXCEPT ![s] = Len(log[s])]
  /\ votes' = VotesWithout(s) \cup {[term |-> t, to |-> candidate, from |-> s, promised |-> PromiseInVote(s)]}
  /\ UNCHANGED <<log, promised, commit, closed, winners, leaderLog, floor, matched, committed, claims, promises, history,
                 isLate>>

(* The no-op of the new leader: above what its quorum has promised, and above its log. *)
Win(s) ==
  LET t == term[s]
      given == {v \in votes : v.term = t /\ v.to = s}
  IN
  /\ role[s] = "candidate"
  /\ Len(log[s]) < MaxLength
  /\ \E Q \in Quorum :
       /\ Q \subseteq {v.from : v \in given}
       /\ LET heard == {v.promised : v \in {w \in given : w.from \in Q}}
              above == IF Defect = "timestamp-below-floor"
                       THEN LastTime(log[s])
                       ELSE Max(heard \cup {LastTime(log[s])})
          IN \E time \in (above + 1)..MaxTime :
               LET l == Append(log[s], [term |-> t, time |-> time]) IN
               /\ log' = [log EXCEPT ![s] = l]
               /\ leaderLog' = [leaderLog EXCEPT ![t] = l]
               /\ floor' = [floor EXCEPT ![t] = time]
  /\ role' = [role EXCEPT ![s] = "leader"]
  /\ winners' = [winners EXCEPT ![t] = @ \cup {s}]
  /\ votes' = VotesWithout(s)
  /\ UNCHANGED <<term, votedFor, durable, promised, commit, closed, matched, committed, claims, promises, history,
                 isLate>>

-----------------------------------------------------------------------------
(* Replication: Raft sections 5.3 and 5.4.2. *)

(* T1: above everything the leader has stamped, claimed or found. *)
Propose(s) ==
  LET t == term[s] IN
  /\ role[s] = "leader"
  /\ Len(log[s]) < MaxLength
  /\ \E time \in (floor[t] + 1)..MaxTime :
       LET l == Append(log[s], [term |-> t, time |-> time]) IN
       /\ log' = [log EXCEPT ![s] = l]
       /\ leaderLog' = [leaderLog EXCEPT ![t] = l]
       /\ floor' = [floor EXCEPT ![t] = time]
  /\ UNCHANGED <<term, votedFor, role, durable, promised, commit, closed, votes, winners, matched, committed, claims,
                 promises, history, isLate>>

(* The leader's own log has become durable. *)
Persist(s) ==
  /\ role[s] = "leader"
  /\ durable[s] < Len(log[s])
  /\ durable' = [durable EXCEPT ![s] = Len(log[s])]
  /\ matched' = [matched EXCEPT ![term[s]][s] = Len(log[s])]
  /\ UNCHANGED <<term, votedFor, role, log, promised, commit, closed, votes, winners, leaderLog, floor, committed, claims,
                 promises, history, isLate>>

(* Whoever hears from the leader of a newer term, or of its own, follows it. *)
Follow(s, t) ==
  /\ t >= term[s]
  /\ winners[t] \ {s} # {}
  /\ term' = [term EXCEPT ![s] = t]
  /\ votedFor' = [votedFor EXCEPT ![s] = IF t > term[s] THEN Nobody ELSE @]
  /\ role' = [role EXCEPT ![s] = "follower"]
  /\ votes' = VotesWithout(s)

(* Messages with entries up to n have come, and are durable. *)
Receive(s, t, n) ==
  LET sent == SubSeq(leaderLog[t], 1, n)
      l == IF IsPrefix(sent, log[s]) THEN log[s] ELSE sent
  IN
  /\ Follow(s, t)
  /\ n <= Len(leaderLog[t])
  /\ n > matched[t][s]
  /\ log' = [log EXCEPT ![s] = l]
  /\ durable' = [durable EXCEPT ![s] = Len(l)]
  /\ matched' = [matched EXCEPT ![t][s] = n]
  /\ UNCHANGED <<promised, commit, closed, winners, leaderLog, floor, committed, claims, promises, history, isLate>>

IsLate(s, n) == \E i \in (commit[s] + 1)..n : log[s][i].time <= closed[s]

Commit(s, n) ==
  LET t == term[s]
      has(x) == IF x = s /\ Defect # "count-undurable-append" THEN durable[s] >= n
                ELSE x = s \/ matched[t][x] >= n
  IN
  /\ role[s] = "leader"
  /\ n \in (commit[s] + 1)..Len(log[s])
  /\ log[s][n].term = t
  /\ {x \in Server : has(x)} \in Quorum
  /\ commit' = [commit EXCEPT ![s] = n]
  /\ committed' = [committed EXCEPT ![t] = n]
  /\ history' = IF n > Len(history) THEN SubSeq(log[s], 1, n) ELSE history
  /\ isLate' = (isLate \/ IsLate(s, n))
  /\ UNCHANGED <<term, votedFor, role, log, durable, promised, closed, votes, winners, leaderLog, floor, matched, claims,
                 promises>>

LearnCommit(s, n) ==
  LET t == term[s] IN
  /\ role[s] = "follower"
  /\ t > 0
  /\ n > commit[s]
  /\ n <= committed[t]
  /\ n <= matched[t][s]
  /\ commit' = [commit EXCEPT ![s] = n]
  /\ isLate' = (isLate \/ IsLate(s, n))
  /\ UNCHANGED <<term, votedFor, role, log, durable, promised, closed, votes, winners, leaderLog, floor, matched, committed,
                 claims, promises, history>>

(* A follower counts for itself what a quorum has durably, of this term: servers tell each other. *)
CommitByCounting(s, n) ==
  LET t == term[s]
      has(x) == IF Defect = "tell-undurable-append" /\ x \in winners[t] THEN Len(leaderLog[t]) ELSE matched[t][x]
  IN
  /\ role[s] = "follower"
  /\ t > 0
  /\ n \in (commit[s] + 1)..Len(log[s])
  /\ LastTerm(log[s]) = t
  /\ {x \in Server : has(x) >= n} \in Quorum
  /\ Defect = "follower-commits-old-term" \/ log[s][n].term = t
  /\ commit' = [commit EXCEPT ![s] = n]
  /\ committed' = [committed EXCEPT ![t] = Max({@, n})]
  /\ history' = IF n > Len(history) THEN SubSeq(log[s], 1, n) ELSE history
  /\ isLate' = (isLate \/ IsLate(s, n))
  /\ UNCHANGED <<term, votedFor, role, log, durable, promised, closed, votes, winners, leaderLog, floor, matched, claims,
                 promises>>

-----------------------------------------------------------------------------
(* Closed timestamps. *)

(* T2: "what I append after my last index has a timestamp above this". The leader has promised it durably itself. *)
Claim(s, time) ==
  LET t == term[s] IN
  /\ role[s] = "leader"
  /\ time > LastTime(log[s])
  /\ LET earlier == {c \in claims : c.term = t} IN
       /\ Cardinality(earlier) < MaxClaims
       /\ \A c \in earlier : time > c.time
  /\ claims' = claims \cup {[term |-> t, time |-> time, index |-> Len(log[s])]}
  /\ floor' = [floor EXCEPT ![t] = Max({@, IF Defect = "stamp-below-claim" THEN 0 ELSE time})]
  /\ promised' = [promised EXCEPT ![s] = Max({@, time})]
  /\ promises' = promises \cup {[term |-> t, from |-> s, time |-> time]}
  /\ UNCHANGED <<term, votedFor, role, log, durable, commit, closed, votes, winners, leaderLog, matched, committed, history,
                 isLate>>

(* T2: a voter that hears of a claim promises it; what its vote says later on is at least that. *)
Promise(s, claim) ==
  /\ Follow(s, claim.term)
  /\ [term |-> claim.term, from |-> s, time |-> claim.time] \notin promises
  /\ promised' = [promised EXCEPT ![s] = Max({@, claim.time})]
  /\ promises' = promises \cup {[term |-> claim.term, from |-> s, time |-> claim.time]}
  /\ UNCHANGED <<log, durable, commit, closed, winners, leaderLog, floor, matched, committed, claims, history, isLate>>

HasPromised(claim) == {p.from : p \in {q \in promises : q.term = claim.term /\ q.time >= claim.time}}

(* T3: it counts once a quorum has promised it in its term, and the server's commit index has reached its index. *)
Close(s, claim) ==
  /\ claim.term = term[s]
  /\ claim.time > closed[s]
  /\ Defect = "close-without-quorum" \/ HasPromised(claim) \in Quorum
  /\ Defect = "close-before-commit" \/ commit[s] >= claim.index
  /\ closed' = [closed EXCEPT ![s] = claim.time]
  /\ UNCHANGED <<term, votedFor, role, log, durable, promised, commit, votes, winners, leaderLog, floor, matched, committed,
                 claims, promises, history, isLate>>

-----------------------------------------------------------------------------

Crash(s) ==
  /\ role[s] # "follower" \/ Defect = "forget-promise-limit-on-restart"
  /\ role' = [role EXCEPT ![s] = "follower"]
  /\ log' = [log EXCEPT ![s] = SubSeq(@, 1, durable[s])]
  \* A leader may have committed, by the others, more than it has itself.
  /\ commit' = [commit EXCEPT ![s] = Min({@, durable[s]})]
  /\ closed' = [closed EXCEPT ![s] = IF commit[s] > durable[s] THEN 0 ELSE @]
  /\ promised' = [promised EXCEPT ![s] = IF Defect = "forget-promise-limit-on-restart" THEN 0 ELSE @]
  /\ votes' = VotesWithout(s)
  /\ UNCHANGED <<term, votedFor, durable, winners, leaderLog, floor, matched, committed, claims, promises, history, isLate>>

Next ==
  \E s \in Server :
    \/ Campaign(s)
    \/ \E candidate \in Server : Vote(s, candidate)
    \/ Win(s)
    \/ Propose(s)
    \/ Persist(s)
    \/ \E t \in Terms, n \in 1..MaxLength : Receive(s, t, n)
    \/ \E n \in 1..MaxLength : Commit(s, n) \/ LearnCommit(s, n) \/ CommitByCounting(s, n)
    \/ \E time \in 1..MaxTime : Claim(s, time)
    \/ \E claim \in claims : Promise(s, claim) \/ Close(s, claim)
    \/ Crash(s)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* What must hold in every state. *)

ElectionSafety == \A t \in Terms : Cardinality(winners[t]) <= 1

LogMatching ==
  \A a, b \in Server : \A i \in 1..Min({Len(log[a]), Len(log[b])}) :
    log[a][i].term = log[b][i].term => SubSeq(log[a], 1, i) = SubSeq(log[b], 1, i)

LeaderCompleteness == \A s \in Server : role[s] = "leader" =>
  \A t \in 1..(term[s] - 1) : IsPrefix(SubSeq(leaderLog[t], 1, committed[t]), log[s])

StateMachineSafety ==
  /\ \A s \in Server : IsPrefix(SubSeq(log[s], 1, commit[s]), history)
  /\ \A t \in Terms : IsPrefix(SubSeq(leaderLog[t], 1, committed[t]), history)

(* T1 *)
TimestampsIncrease == \A s \in Server : \A i \in 2..Len(log[s]) : log[s][i - 1].time < log[s][i].time

(* T2: nobody stamps at or below what a quorum has promised, but what the claim itself leaves out. *)
PromisesAreKept ==
  \A claim \in claims : HasPromised(claim) \in Quorum =>
    \A t \in claim.term..MaxTerm : \A i \in 1..Len(leaderLog[t]) :
      (leaderLog[t][i].term = t /\ (t > claim.term \/ i > claim.index)) => leaderLog[t][i].time > claim.time

(* T3: neither where it has been noticed, nor where it still may be. *)
WatermarksHold ==
  /\ ~isLate
  /\ \A s \in Server : \A i \in (commit[s] + 1)..Len(history) : history[i].time > closed[s]

(* T4 *)
Watermark(s) == Max({closed[s], TimeAt(log[s], commit[s])})
MergedLogsAgree ==
  \A a, b \in Server :
    LET upTo == Min({Watermark(a), Watermark(b)})
        of(s) == {log[s][i] : i \in {j \in 1..commit[s] : log[s][j].time <= upTo}}
    IN of(a) = of(b)

Symmetry == Permutations(Server)
=============================================================================
