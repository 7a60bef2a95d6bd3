/*
 * HA restart with a lease and a watchdog. Two hosts share storage and a sanlock lease for one VM.
 * Claim: never do two copies of the VM run.
 *
 * Time is a small counter per host: the age of its last renewal, in units of 40 s at io_timeout 10.
 *   FAIL  2  (80 s)   the host's own sanlock kills the lease holders; the kill may fail
 *   DOG   3  (130 s)  the watchdog resets the machine whatever hangs
 *   DEAD  4  (140 s)  another host may take the lease
 *
 * Mutations, each must give a counterexample:
 *   -DNOLEASE   the coordinator restarts a VM of a silent host without taking the lease
 *   -DDEAD=2    the lease may be taken before the watchdog has fired
 *   -DDOG=6     the watchdog fires after the lease was taken
 * Not vacuous: -DVACUOUS claims that a restart never happens; that must give a counterexample too.
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
#define CAN_START(host) (up[host] && net[host] && storage[host] && age[host] == 0 && !vm[host])
#ifdef NOLEASE
#define LEASE_IS_FREE(host) true
#else
#define LEASE_IS_FREE(host) (age[host] >= DEAD)
#endif

bool up[2] = true;
bool storage[2] = true;
bool net[2] = true;
bool vm[2];
byte age[2];
byte owner = 0;
bool restarted;

/* One unit of time: everybody's clocks move together, and what is due happens. */
inline tick() {
  atomic {
    byte h = 0;
    do
    :: h < 2 ->
       if
       :: up[h] && storage[h] && age[h] < FAIL -> age[h] = 0
       :: else -> age[h] = (age[h] < MAX -> age[h] + 1 : MAX)
       fi;
       if
       :: up[h] && age[h] >= FAIL && vm[h] ->
          if
          :: vm[h] = false      /* sanlock's kill works */
          :: skip               /* QEMU hangs in the kernel */
          fi
       :: else
       fi;
       if
       :: up[h] && age[h] >= DOG && vm[h] -> up[h] = false; vm[h] = false
       :: else
       fi;
       h++
    :: else -> break
    od
  }
}

/* The world: power, cables and storage paths come and go. */
proctype world() {
  byte n;
  do
  :: n = 0; goto choose
  :: n = 1; goto choose
  :: tick()
  od;
choose:
  if
  :: atomic { up[n] -> up[n] = false; vm[n] = false }
  :: atomic { !up[n] && !vm[n] -> up[n] = true; age[n] = (storage[n] -> 0 : age[n]) }
  :: storage[n] = false
  :: storage[n] = true
  :: net[n] = false
  :: net[n] = true
  :: tick()
  fi;
  n = 0;
  goto again;
again:
  do
  :: n = 0; goto choose
  :: n = 1; goto choose
  :: tick()
  od
}

/* The coordinator: a silent host's VM is started on the other one. The start takes the lease. */
proctype coordinator() {
  byte from;
  do
  :: from = 0; goto try
  :: from = 1; goto try
  od;
try:
  do
  :: atomic {
       (!up[from] || !net[from]) && CAN_START(1 - from) && owner == from && LEASE_IS_FREE(from) ->
       owner = 1 - from;
       vm[1 - from] = true;
       restarted = true;
       from = 1 - from
     }
  :: from = 1 - from
  od
}

init { atomic { vm[0] = true; run world(); run coordinator() } }

#ifdef VACUOUS
ltl never_restarts { [] !restarted }
#else
ltl one_copy { [] !(vm[0] && vm[1]) }
#endif
