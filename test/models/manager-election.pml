/*
 * A storage domain's manager: the holder of the lease SDM. Two hosts, one lease with a version that grows
 * at each acquisition, and metadata writes that cannot be recalled once they are issued.
 * Claim: no write of an older manager lands after a write of a newer one.
 *
 * A manager checks its lease, then issues a write; between the two, and while the write is under way, it
 * may be stopped for any time (SIGSTOP, a stuck path). What protects the storage domain is not the check
 * but the clock: sanlock kills the holder at FAIL, the watchdog resets its machine at DOG, and nobody may
 * take the lease before DEAD. Ages are in units of 40 s at io_timeout 10.
 *
 * Mutations, each must give a counterexample:
 *   -DNOKILL    a zombie is not killed and no watchdog exists: it notices at its next poll only
 *   -DDEAD=2    the lease may be taken before the watchdog has fired
 *   -DDOG=6     the watchdog fires after the lease was taken
 * Not vacuous: -DVACUOUS claims that no second manager ever writes.
 */
#ifndef FAIL
#define FAIL 2
#endif
#ifndef DOG
#define DOG 3
#endif
#ifndef DEAD
#define DEAD 4
#endif
#define MAX 7
#define MOST 3

bool storage[2] = true;
bool stopped[2];
byte age[2];
byte owner = 0;
byte version = 1;
/* What each host believes: the version under which it is manager; 0 means it is not. */
byte manages[2];
/* A write under way, with the version it was issued under; 0 means none. */
byte inflight[2];
byte landed;
bool late;

inline lose(h) { manages[h] = 0; inflight[h] = 0 }

inline tick() {
  atomic {
    byte h = 0;
    do
    :: h < 2 ->
       if
       :: storage[h] && age[h] < FAIL -> age[h] = 0
       :: else -> age[h] = (age[h] < MAX -> age[h] + 1 : MAX)
       fi;
#ifndef NOKILL
       if
       :: age[h] >= FAIL && manages[h] > 0 ->
          if
          :: lose(h)     /* the kill works, and the write with it */
          :: skip        /* stuck in the kernel */
          fi
       :: else
       fi;
       if
       :: age[h] >= DOG -> lose(h)
       :: else
       fi;
#endif
       h++
    :: else -> break
    od
  }
}

proctype world() {
  byte n;
  do
  :: n = 1 - n
  :: storage[n] = false
  :: atomic { storage[n] = true; if :: age[n] >= DOG && manages[n] == 0 -> age[n] = 0 :: else fi }
  :: stopped[n] = true
  :: stopped[n] = false
  :: tick()
  od
}

proctype host(byte me) {
  do
  :: atomic { !stopped[me] && storage[me] && age[me] == 0 && manages[me] == 0 && owner != me && age[1 - me] >= DEAD && version < MOST -> owner = me; version++; manages[me] = version }
  :: atomic { !stopped[me] && storage[me] && manages[me] > 0 && manages[me] == version && owner == me && inflight[me] == 0 -> inflight[me] = manages[me] }
  :: atomic { inflight[me] > 0 && storage[me] -> late = late || (inflight[me] < landed); landed = (inflight[me] > landed -> inflight[me] : landed); inflight[me] = 0 }
  :: atomic { !stopped[me] && manages[me] > 0 && manages[me] != version -> lose(me) }
  od
}

init { atomic { manages[0] = 1; run world(); run host(0); run host(1) } }

#ifdef VACUOUS
ltl one_manager { [] (landed < 2) }
#else
ltl no_late_write { [] !late }
#endif
