/** Every place between two durable acts of the agent's own verbs where a test kills it; by verb. */
export const crashPoints = {
  start: ['begun', 'prepared', 'defined', 'created', 'recorded'],
  cd: ['prepared', 'changed', 'recorded'],
  destroy: ['begun', 'stopped', 'torn_down', 'undefined'],
  migrate: ['recorded', 'tunnel', 'let_go', 'done'],
  incoming: ['begun', 'prepared'],
  arrival: ['held', 'released']
}
