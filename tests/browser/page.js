// Runs in the page, beside JsSIP: one user agent at a time, each step a promise.

/* global JsSIP */
globalThis.phone = (() => {
  let ua;
  let socket;

  /** The next of these events of the user agent, as plain data. */
  const next = (...names) =>
    new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`none of ${names} came`)), 15000);
      const heard = (name) => (data) => {
        clearTimeout(late);
        for (const [name, listener] of listeners) {
          ua.removeListener(name, listener);
        }
        const response = data?.response;
        resolve({
          event: name,
          cause: data?.cause ?? null,
          status: response?.status_code ?? null,
          contacts: response?.getHeaders('contact') ?? [],
          require: response?.getHeader('require') ?? null,
        });
      };
      const listeners = names.map((name) => [name, heard(name)]);
      for (const [name, listener] of listeners) {
        ua.on(name, listener);
      }
    });

  return {
    /** Connects a user agent that waits to be told to register. */
    async connect(url, user, password, expires) {
      socket = new JsSIP.WebSocketInterface(url);
      const sockets = [socket];
      const uri = `sip:${user}@example.com`;
      ua = new JsSIP.UA({ sockets, uri, password, register: false, register_expires: expires });
      const connected = next('connected', 'disconnected');
      ua.start();
      return connected;
    },
    register() {
      const told = next('registered', 'registrationFailed');
      ua.register();
      return told;
    },
    /** A REGISTER of one that is registered: JsSIP has no event for how it went. */
    refresh() {
      const told = new Promise((resolve, reject) => {
        const late = setTimeout(() => reject(new Error('no answer to a refresh')), 15000);
        const onward = socket.ondata;
        socket.ondata = (data) => {
          const status = Number(/^SIP\/2.0 (\d+)/.exec(data)?.[1]);
          if (status !== 401) {
            clearTimeout(late);
            socket.ondata = onward;
            const contacts = [...data.matchAll(/^Contact: *(.*?)\r$/gm)].map(([, value]) => value);
            resolve({ event: status === 200 ? 'registered' : 'refused', status, contacts });
          }
          onward(data);
        };
      });
      ua.register();
      return told;
    },
    unregister(options) {
      const told = next('unregistered', 'registrationFailed');
      ua.unregister(options);
      return told;
    },
    async leave() {
      const gone = next('disconnected');
      ua.stop();
      return gone;
    },
  };
})();
